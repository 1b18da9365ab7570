"""Sound classes: which sounds of different packages are of one kind.

A class has at least three independent recordings: sounds of different packages, or different things
in one. A recording of any other sound states its sound and no class.
"""

from collections.abc import Mapping

CLASSES: Mapping[str, tuple[str, ...]] = {
    "Aircraft": ("Helicopter", "Jet plane", "Plane", "Propeller plane"),
    "Beep": ("Beep", "Computer", "Morse code"),
    "Bird": (
        *("Bird", "Blackbird", "Crow", "Cuckoo", "Heron", "Lark", "Owl", "Penguin", "Quetzal"),
        *("Rhea", "Seagull", "Toucan", "Turkey", "Vulture"),
    ),
    "Blade": ("Axe", "Knife", "Sword"),
    "Bow": ("Arrow", "Bow", "Crossbow"),
    "Bubbles": ("Bubbles",),
    "Cat": ("Cat", "Kitten"),
    "Chicken": ("Chicken", "Hen", "Rooster"),
    "Coins": ("Cash till", "Coins"),
    "Cough": ("Cough",),
    "Cow": ("Bull", "Cow", "Ox"),
    "Crash": ("Crash", "Falling object", "Falling tools", "Rockfall"),
    "Crowd": ("Applause", "Party", "Sports crowd"),
    "Cry of pain": ("Cry of pain",),
    "Deer": ("Caribou", "Deer", "Doe", "Moose", "Stag"),
    "Dog": ("Dog",),
    "Door": ("Closing door", "Creaking door", "Door"),
    "Duck or goose": ("Drake", "Duck", "Gander", "Goose"),
    "Explosion": ("Explosion",),
    "Fire": ("Blowtorch", "Campfire", "Fire", "Flamethrower"),
    "Footsteps": ("Footsteps",),
    "Frog": ("Frog",),
    "Gunshot": ("Gun", "Machine gun", "Shotgun"),
    "Hammering": ("Hammer", "Jackhammer", "Mallet", "Pickaxe", "Smithy"),
    "Horn": ("Car horn", "Ferry horn", "Ship horn", "Signal horn"),
    "Horse": ("Galloping horse", "Horse"),
    "Insect": ("Bee", "Cricket", "Grasshopper", "Hornet", "Mosquito"),
    "Laughter": ("Laughter",),
    "Machine": (
        *("Factory", "Loom", "Mining machinery", "Sewing machine", "Vacuum cleaner"),
        "Washing machine",
    ),
    "Monkey or ape": ("Chimpanzee", "Gorilla", "Monkey"),
    "Musical instrument": (
        *("Bassoon", "Cello", "Crash cymbal", "Drum kit", "Floor tom", "Violin"),
    ),
    "Pig": ("Pig", "Wild boar"),
    "Road vehicle": ("Bus", "Car", "Motorcycle", "Traffic", "Truck"),
    "Rodent": ("Beaver", "Mouse", "Squirrel"),
    "Saw": ("Chainsaw", "Saw", "Sawmill"),
    "Sheep or goat": ("Goat", "Lamb", "Mountain goat", "Ram", "Sheep"),
    "Train": ("Electric train", "Steam train", "Train"),
    "Water": ("Dripping water", "Running water", "Ripples", "Splash", "Water"),
    "Weather": ("Rain", "Thunder", "Wind"),
    "Whale or dolphin": ("Dolphin", "Orca", "Whale"),
    "Wolf": ("Coyote", "Wolf"),
    "Woodcutting": ("Falling tree", "Woodcutting"),
}
"""Class -> sounds, as the readers name them."""

_CLASS_OF = {sound: name for name, sounds in CLASSES.items() for sound in sounds}


def sound_attributes(sound: str) -> dict[str, str]:
    """Return a sound with its class, where it has one.

    >>> sound_attributes("Lark"), sound_attributes("Whip")
    ({'Sound': 'Lark', 'Sound class': 'Bird'}, {'Sound': 'Whip'})
    """
    known = _CLASS_OF.get(sound)
    return {"Sound": sound, "Sound class": known} if known else {"Sound": sound}
