"""Sentences of other languages and the espeak-ng voices that say them: nano is to answer that it did not understand.

Two languages are held out of training.
"""

from __future__ import annotations

SENTENCES: dict[str, tuple[str, ...]] = {
    "de": (
        "wie spät ist es bitte",
        "ich möchte morgen nach hause fahren",
        "das wetter ist heute sehr schön",
        "kannst du mir bitte helfen",
        "meine schwester wohnt in einem großen haus",
        "wo ist der bahnhof",
        "wir haben gestern zusammen gekocht",
        "das buch liegt auf dem tisch",
    ),
    "fr": (
        "quelle heure est il maintenant",
        "je voudrais un café s'il vous plaît",
        "il fait très beau aujourd'hui",
        "où est la gare",
        "mon frère habite à la campagne",
        "nous avons mangé ensemble hier soir",
        "est ce que tu peux m'aider",
        "le livre est sur la table",
    ),
    "es": (
        "qué hora es ahora",
        "quiero un vaso de agua por favor",
        "hoy hace muy buen tiempo",
        "dónde está la estación",
        "mi hermana vive en una casa grande",
        "ayer comimos juntos",
        "puedes ayudarme con esto",
        "el libro está en la mesa",
    ),
    "it": (
        "che ore sono adesso",
        "vorrei un bicchiere di vino",
        "oggi il tempo è molto bello",
        "dove si trova la stazione",
        "mio fratello abita in campagna",
        "ieri abbiamo mangiato insieme",
        "mi puoi aiutare per favore",
        "il libro è sul tavolo",
    ),
    "nl": (
        "hoe laat is het nu",
        "ik wil graag een kopje koffie",
        "het is vandaag erg mooi weer",
        "waar is het station",
        "mijn zus woont in een groot huis",
        "gisteren hebben wij samen gegeten",
        "kun je mij even helpen",
        "het boek ligt op de tafel",
    ),
    "pt": (
        "que horas são agora",
        "eu quero um copo de água",
        "hoje o tempo está muito bom",
        "onde fica a estação",
        "a minha irmã mora numa casa grande",
        "ontem comemos juntos",
        "você pode me ajudar",
        "o livro está na mesa",
    ),
    "tr": (
        "şimdi saat kaç",
        "bir bardak su istiyorum",
        "bugün hava çok güzel",
        "istasyon nerede",
        "kardeşim köyde yaşıyor",
        "dün birlikte yemek yedik",
        "bana yardım eder misin",
        "kitap masanın üstünde",
    ),
    "fi": (
        "paljonko kello on nyt",
        "haluaisin lasin vettä",
        "tänään on hyvin kaunis ilma",
        "missä on rautatieasema",
        "sisareni asuu isossa talossa",
        "eilen söimme yhdessä",
        "voitko auttaa minua",
        "kirja on pöydällä",
    ),
    "sv": (
        "vad är klockan nu",
        "jag vill ha en kopp kaffe",
        "vädret är mycket fint idag",
        "var ligger stationen",
        "min bror bor på landet",
        "igår åt vi tillsammans",
        "kan du hjälpa mig",
        "boken ligger på bordet",
    ),
    "pl": (
        "która jest teraz godzina",
        "poproszę szklankę wody",
        "dzisiaj jest bardzo ładna pogoda",
        "gdzie jest dworzec",
        "moja siostra mieszka w dużym domu",
        "wczoraj jedliśmy razem",
        "czy możesz mi pomóc",
        "książka leży na stole",
    ),
}
HELD_OUT = ("sv", "pl")
"""Languages that are kept for the evaluation."""


def languages(split: str) -> tuple[str, ...]:
    """Return the languages of 'train' or, for anything else, those held out."""
    return tuple(name for name in SENTENCES if (name in HELD_OUT) != (split == "train"))
