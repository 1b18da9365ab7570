"""English names of languages."""

LANGUAGES = {
    "ab": "Abkhazian",
    "af": "Afrikaans",
    "am": "Amharic",
    "ar": "Arabic",
    "as": "Assamese",
    "az": "Azerbaijani",
    "ba": "Bashkir",
    "be": "Belarusian",
    "bg": "Bulgarian",
    "bn": "Bengali",
    "bo": "Tibetan",
    "br": "Breton",
    "bs": "Bosnian",
    "ca": "Catalan",
    "ceb": "Cebuano",
    "cs": "Czech",
    "cy": "Welsh",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "eo": "Esperanto",
    "es": "Spanish",
    "et": "Estonian",
    "eu": "Basque",
    "fa": "Persian",
    "fi": "Finnish",
    "fo": "Faroese",
    "fr": "French",
    "ga": "Irish",
    "gl": "Galician",
    "gn": "Guarani",
    "gu": "Gujarati",
    "gv": "Manx",
    "ha": "Hausa",
    "haw": "Hawaiian",
    "he": "Hebrew",
    "hi": "Hindi",
    "hr": "Croatian",
    "ht": "Haitian Creole",
    "hu": "Hungarian",
    "hy": "Armenian",
    "ia": "Interlingua",
    "id": "Indonesian",
    "is": "Icelandic",
    "it": "Italian",
    "iw": "Hebrew",  # the old code
    "ja": "Japanese",
    "jv": "Javanese",
    "jw": "Javanese",  # the old code
    "ka": "Georgian",
    "kk": "Kazakh",
    "km": "Khmer",
    "kn": "Kannada",
    "ko": "Korean",
    "la": "Latin",
    "lb": "Luxembourgish",
    "ln": "Lingala",
    "lo": "Lao",
    "lt": "Lithuanian",
    "lv": "Latvian",
    "mg": "Malagasy",
    "mi": "Maori",
    "mk": "Macedonian",
    "ml": "Malayalam",
    "mn": "Mongolian",
    "mr": "Marathi",
    "ms": "Malay",
    "mt": "Maltese",
    "my": "Burmese",
    "nb": "Norwegian",  # Bokmål and Nynorsk are ways of writing, not of speaking
    "ne": "Nepali",
    "nl": "Dutch",
    "nn": "Norwegian",
    "no": "Norwegian",
    "oc": "Occitan",
    "pa": "Punjabi",
    "pl": "Polish",
    "ps": "Pashto",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sa": "Sanskrit",
    "sco": "Scots",
    "sd": "Sindhi",
    "si": "Sinhala",
    "sk": "Slovak",
    "sl": "Slovenian",
    "sn": "Shona",
    "so": "Somali",
    "sq": "Albanian",
    "sr": "Serbian",
    "su": "Sundanese",
    "sv": "Swedish",
    "sw": "Swahili",
    "ta": "Tamil",
    "te": "Telugu",
    "tg": "Tajik",
    "th": "Thai",
    "tk": "Turkmen",
    "tl": "Tagalog",
    "tr": "Turkish",
    "tt": "Tatar",
    "uk": "Ukrainian",
    "ur": "Urdu",
    "uz": "Uzbek",
    "vi": "Vietnamese",
    "war": "Waray",
    "yi": "Yiddish",
    "yo": "Yoruba",
    "zh": "Chinese",
}
"""ISO 639-1 code -> name."""

_THREE_LETTERS = (
    "abk:ab afr:af amh:am ara:ar asm:as aze:az azj:az bak:ba bel:be bul:bg ben:bn bod:bo bre:br "
    "bos:bs cat:ca ces:cs cym:cy dan:da deu:de ell:el eng:en epo:eo spa:es est:et ekk:et eus:eu "
    "fas:fa pes:fa fin:fi fao:fo fra:fr gle:ga glg:gl grn:gn guj:gu glv:gv hau:ha heb:he hin:hi "
    "hrv:hr hat:ht hun:hu hye:hy ina:ia ind:id isl:is ita:it jpn:ja jav:jv kat:ka kaz:kk khm:km "
    "kan:kn kor:ko lat:la ltz:lb lin:ln lao:lo lit:lt lav:lv lvs:lv mlg:mg plt:mg mri:mi mkd:mk "
    "mal:ml mon:mn khk:mn mar:mr msa:ms zlm:ms zsm:ms mlt:mt mya:my nob:nb nep:ne npi:ne nld:nl "
    "nno:nn nor:no oci:oc pan:pa pol:pl pus:ps pbt:ps por:pt ron:ro rus:ru san:sa snd:sd sin:si "
    "slk:sk slv:sl sna:sn som:so sqi:sq als:sq srp:sr sun:su swe:sv swa:sw swh:sw tam:ta tel:te "
    "tgk:tg tha:th tuk:tk tgl:tl tur:tr tat:tt ukr:uk urd:ur uzb:uz uzn:uz vie:vi yid:yi ydd:yi "
    "yor:yo zho:zh cmn:zh yue:zh"
)
_ONE = dict(pair.split(":") for pair in _THREE_LETTERS.split())
"""ISO 639-3 code -> ISO 639-1 code."""
_NAMES = {name.casefold(): name for name in LANGUAGES.values()}


def language_name(code: str) -> str:
    """Return the name of a language; an unknown code is returned unchanged.

    >>> language_name("pt_BR"), language_name("Quechua")
    ('Portuguese', 'Quechua')
    """
    return LANGUAGES.get(code.replace("-", "_").split("_")[0].lower(), code)


def language_of_label(label: str) -> str | None:
    """Return the language of a classifier's label; None if it has no name here.

    >>> [language_of_label(label) for label in ("cmn", "en: English", "french", "xho")]
    ['Chinese', 'English', 'French', None]
    """
    word = label.partition(":")[0].strip().casefold()
    return LANGUAGES.get(_ONE.get(word, word)) or _NAMES.get(word)
