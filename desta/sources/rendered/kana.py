"""Japanese in kana -> the phonemes that Kokoro was trained with."""

_ROWS = (
    "あ:a い:i う:ɯ え:e お:o か:ka き:kʲi く:kɯ け:ke こ:ko が:ɡa ぎ:ɡʲi ぐ:ɡɯ げ:ɡe ご:ɡo "
    "さ:sa し:ɕi す:sɨ せ:se そ:so ざ:ʣa じ:ʥi ず:zɨ ぜ:ʣe ぞ:ʣo た:ta ち:ʨi つ:ʦɨ て:te と:to "
    "だ:da ぢ:ʥi づ:zɨ で:de ど:do な:na に:ɲi ぬ:nɯ ね:ne の:no は:ha ひ:çi ふ:ɸɯ へ:he ほ:ho "
    "ば:ba び:bʲi ぶ:bɯ べ:be ぼ:bo ぱ:pa ぴ:pʲi ぷ:pɯ ぺ:pe ぽ:po ま:ma み:mʲi む:mɯ め:me も:mo "
    "や:ja ゆ:jɯ よ:jo ら:ɾa り:ɾʲi る:ɾɯ れ:ɾe ろ:ɾo わ:βa を:o ゔ:vɯ ー:ː "
    "、:, 。:. ？:? ！:! 「:“ 」:”"
)
_SOUNDS = dict(pair.split(":", 1) for pair in _ROWS.split())
_SMALL = {"ゃ": "a", "ゅ": "ɨ", "ょ": "o", "ぁ": "a", "ぃ": "i", "ぅ": "ɯ", "ぇ": "e", "ぉ": "o"}
"""Small kana -> vowel in place of that of the kana before."""
_NASALS = (("mpb", "m"), ("kɡ", "ŋ"), ("ɲʨʥ", "ɲ"), ("ntdɾzʣʦ", "n"))
"""First sounds after ん -> its own."""
_HIRAGANA = {code: code - 0x60 for code in range(0x30A1, 0x30F7)}


def phonemes_of_kana(text: str) -> str:
    """Return the phonemes of a text in kana; other characters stay as they are.

    Long vowels are written with ー and particles as they sound (わ, え, お).

    >>> phonemes_of_kana("しゃしん お とって ください。")
    'ɕaɕiɴ o toʔte kɯdasai.'
    """
    kana = text.translate(_HIRAGANA)
    found: list[str] = []
    for number, letter in enumerate(kana):
        follows = _SOUNDS.get(kana[number + 1 : number + 2], "")
        if letter in _SMALL and found:
            found[-1] = found[-1][:-1] + _SMALL[letter]
        elif letter == "ん":
            found.append(
                next((nasal for first, nasal in _NASALS if follows and follows[0] in first), "ɴ")
            )
        elif letter == "っ":
            found.append("ʔ")
        else:
            found.append(_SOUNDS.get(letter, letter))
    # a space follows punctuation, as in the texts that Kokoro learnt from
    spaced = "".join(f"{sound} " if sound in {*",.?!”"} else sound for sound in found)
    return " ".join(spaced.split())
