"""What nano knows by heart, all of it in words that it can say."""

from __future__ import annotations

OPPOSITES = (
    ("hot", "cold"),
    ("big", "small"),
    ("up", "down"),
    ("left", "right"),
    ("day", "night"),
    ("black", "white"),
    ("open", "closed"),
    ("happy", "sad"),
    ("fast", "slow"),
    ("old", "young"),
    ("high", "low"),
    ("wet", "dry"),
    ("hard", "soft"),
    ("light", "dark"),
    ("good", "bad"),
    ("long", "short"),
    ("full", "empty"),
    ("rich", "poor"),
    ("early", "late"),
    ("strong", "weak"),
    ("in", "out"),
    ("loud", "quiet"),
    ("clean", "dirty"),
    ("near", "far"),
    ("first", "last"),
)
CAPITALS = {
    "france": "Paris",
    "germany": "Berlin",
    "italy": "Rome",
    "spain": "Madrid",
    "england": "London",
    "japan": "Tokyo",
    "china": "Beijing",
    "russia": "Moscow",
    "greece": "Athens",
    "austria": "Vienna",
    "poland": "Warsaw",
    "sweden": "Stockholm",
    "norway": "Oslo",
    "egypt": "Cairo",
    "canada": "Ottawa",
    "ireland": "Dublin",
    "portugal": "Lisbon",
    "cuba": "Havana",
    "hungary": "Budapest",
    "finland": "Helsinki",
}
COLOUR_OF = {
    "grass": "green",
    "the sky": "blue",
    "snow": "white",
    "blood": "red",
    "a banana": "yellow",
    "coal": "black",
    "milk": "white",
    "a tomato": "red",
    "the sun": "yellow",
    "chocolate": "brown",
    "an orange": "orange",
    "an elephant": "gray",
    "a lemon": "yellow",
    "the ocean": "blue",
    "a frog": "green",
}
SOUNDS = {
    "cow": "moo",
    "dog": "woof",
    "cat": "meow",
    "duck": "quack",
    "sheep": "bah",
    "pig": "oink",
    "lion": "roar",
    "bee": "buzz",
    "snake": "hiss",
    "horse": "neigh",
}
AMOUNTS = {
    "days are in a week": "There are seven days in a week.",
    "months are in a year": "There are twelve months in a year.",
    "hours are in a day": "There are twenty four hours in a day.",
    "minutes are in an hour": "There are sixty minutes in an hour.",
    "seconds are in a minute": "There are sixty seconds in a minute.",
    "days are in a year": "There are three hundred sixty five days in a year.",
    "weeks are in a year": "There are fifty two weeks in a year.",
    "legs does a spider have": "A spider has eight legs.",
    "legs does a dog have": "A dog has four legs.",
    "legs does a bird have": "A bird has two legs.",
    "fingers are on a hand": "There are five fingers on a hand.",
    "letters are in the alphabet": "There are twenty six letters in the alphabet.",
}
JOKES = (
    "Why did the chicken cross the road? To get to the other side.",
    "What is brown and sticky? A stick.",
    "Why is six afraid of seven? Because seven ate nine.",
    "What has four wheels and flies? A garbage truck.",
)
STORIES = (
    "Once upon a time a little robot lived in a garden. Every night it counted the stars. One night a star fell "
    "down, and they were friends for ever.",
    "There was a small boat on the big blue sea. The wind was strong and the boat was afraid. Then the sun came "
    "out, and the boat sailed home.",
)

OTHER_FRAMES = (
    "{who} {did} {what} {when}",
    "{when} {who} {did} {what}",
    "i think {who} {did} {what}",
    "why did {who} talk about {what}",
    "{who} never {did} {what}",
    "did you know that {who} {did} {what}",
    "{what} is for {who}",
)
OTHER_PARTS = {
    "who": (
        "my sister", "our teacher", "the old man", "his uncle", "the neighbors", "my best friend", "the new boss",
        "a young woman", "the captain", "her husband", "the whole family", "some tourists", "the driver",
        "my grandmother",
    ),
    "did": (
        "bought", "sold", "forgot", "lost", "painted", "found", "liked", "wanted", "repaired", "carried", "destroyed",
        "wrote about", "dreamed of", "laughed about",
    ),
    "what": (
        "a house", "the keys", "an old bike", "the blue car", "a big fish", "the wrong train", "my shoes",
        "a love letter",
        "the broken chair", "some flowers", "a piece of wood", "the last book", "the yellow hat", "the long way home",
    ),
    "when": (
        "yesterday", "last week", "in the morning", "at school", "a long time ago", "on the way home", "last summer",
        "after dinner", "two years ago", "during the war", "before the game", "at the beach",
    ),
}  # fmt: skip
"""What fills the frames: sentences that are English but no business of nano's."""

OPPOSITE_OF = dict(OPPOSITES) | {b: a for a, b in OPPOSITES}

RESULT_SENTENCES = (
    "The station is closed today.",
    "The shop opens at nine in the morning.",
    "The museum is open until six in the evening.",
    "The mountain is very high.",
    "The game was won by the blue team.",
    "The train is late.",
    "The bank is near the river.",
    "The new bridge is open.",
    "The tower is one hundred years old.",
    "The ship came to the island.",
    "There is a storm on the sea.",
    "There is a big party in the city.",
    "Tickets cost twenty dollars.",
    "The concert is on Friday.",
    "The market is on Sunday.",
    "The price of sugar is up.",
    "The queen visits the hospital.",
    "A rocket flies to the moon.",
    "The farmers have good fruit this year.",
    "The hotel is full.",
    "The restaurant is closed on Monday.",
    "The flight takes three hours.",
    "It is the largest animal in the world.",
    "It is a very old city.",
    "It is made of milk and sugar.",
    "It is a game for two people.",
    "It was found in Egypt.",
    "It lives in the ocean.",
    "It is more than one thousand years old.",
    "It grows in the summer.",
)
"""What a web search may answer; the reader of a result says it as it stands."""
