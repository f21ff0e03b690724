"""Texts of spoken turns, and where a speaker may pause in them: for `turn_ends`.

`turn_text` draws from a small grammar (requests, questions, statements, dictated numbers, lists), from nano's domain
and, where Debian's package fortunes is installed, from its sentences. Commas are kept: synthesizers speak a continuing
intonation at them. `HELD_OUT` is written by hand and never trained on: ``|`` is where the speaker pauses.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from functools import cache

from scripts.nano import domain
from scripts.nano.data.out_of_domain import outside_sentences

SHORT_ANSWERS = (
    "yes|no|stop|okay|hello|hi|maybe|thanks|sure|right|wait|help|yeah|nope|never|always|please|tomorrow|today|tonight|"
    "seven|twelve|forty two|nineteen|three hundred|ten thirty|half past two|monday|friday|in april|red|green|coffee|"
    "thank you|of course|not really|yes please|no thanks|no thank you|i do|i don't|that's right|that's wrong|that's it|"
    "that's all|i think so|i don't know|i don't think so|good morning|good night|goodbye|see you later|very good|"
    "sounds good|all right|go ahead|stop it|be quiet|never mind|forget it|exactly|absolutely|it is|it isn't|"
    "nothing else|the second one|the red one|with milk|by train|at home|in london|to paris|two of them|just me"
).split("|")

FILLERS = (
    "um|uh|er|hmm|umm|uhh|and um|and uh|so um|well um|um so|uh let me see|let me see|let me think|and then|i mean|"
    "you know|and|so|but|or|because|uh because|like|um like"
).split("|")

_PREFIXES = (
    "i would like to|i want to|i need to|i have to|can you|could you please|would you|will you|do you know|"
    "can you tell me|tell me about the|what is the|what are the|where is the|how do i|how much is the|"
    "how far is it to|i am looking for|i am looking for a|i was thinking about|it is about the|my name is|"
    "my number is|my address is|the number is|please call|please remind me to|remind me to|set a timer for|"
    "set an alarm for|wake me up at|turn on the|turn off the|switch the|play some|put the|add some|i think that|"
    "i think it is the|if you|if it is|because i|when i|when the|and then i|and the|but the|so i|we are going to|"
    "we need a|she said that|he told me that the|it was the|there is a|there are some|let's meet at|on the|in the|"
    "to the|from the|for the|at the|with my|of the|about my|between the|is there a|are there any|have you got a|"
    "do you have any|which of the|who is the|why is the|when does the|what time does the|send a message to my|"
    "write an email to|book a table for|order a|buy a ticket to|the train from|a flight from london to|"
    "my account number is|my date of birth is the|and also the|or maybe the|not the|as soon as the|before the|"
    "after my|until the|i wanted to ask if|i was wondering whether|could i have a|may i have the|i'd like a|"
    "we'd like the|it's a|that's my|this is my|yesterday i|tomorrow we|next week i am|last year my"
).split("|")
"""Beginnings that nobody takes for a whole turn, whatever the intonation."""

_GRAMMAR: Mapping[str, Sequence[str]] = {
    "turn": (
        "$request", "$request", "$question", "$question", "$question", "$statement", "$statement", "$list", "$dictated",
        "$lead $request", "$lead $question", "$lead $statement", "$statement, $link $statement", "$request $reason",
        "$fact",
    ),
    "lead": ("well,", "so,", "hi,", "hello,", "okay,", "please", "actually,", "um,", "excuse me,", "sorry,", "and"),
    "link": ("and", "but", "so", "because", "and then", "although"),
    "reason": (
        "because $clause", "if $clause", "before $clause", "when $clause", "so that $clause", "as $clause",
    ),
    "clause": (
        "i am late", "it is cold in here", "the children are asleep", "we leave in the morning", "my sister is coming",
        "the shops are closed", "you have time", "it gets dark", "i have lost my key", "the meeting is over",
        "nobody is at home", "the bus has gone", "that is possible", "it rains again", "the battery is empty",
    ),
    "request": (
        "i would like to $do", "i want to $do", "could you $do", "can you $do for me", "please $do", "$do $when",
        "i need $thing $when", "i am looking for $thing $place", "help me to $do", "let us $do $when",
        "i'd like $thing $place please", "would it be possible to $do", "don't forget to $do", "make sure to $do",
    ),
    "do": (
        "book $thing", "cancel $thing", "order $thing $when", "call $person", "call $person $when",
        "send a message to $person", "turn on the $device", "turn off the $device in the $room", "open the $device",
        "buy $thing $place", "find $thing $place", "set a timer for $number minutes", "wake me up at $time",
        "reserve a room for $number people", "change my $thing2", "move my appointment to $day", "read me the news",
        "play a song by $person", "remind $person about the $event", "tell $person that $clause", "pay the $thing2",
        "speak to $person about my $thing2", "check the $thing2", "read my $thing2 $when", "write down the $thing2",
    ),
    "question": (
        "what is the $noun of $thing", "what is the $noun $place", "where can i find $thing", "where is $thing",
        "when does the $event start", "when is the $event $place", "how do i get to $place2",
        "how far is it to $place2",
        "how much does $thing cost", "who is $person", "who told $person that $clause", "why is the $noun so $adj",
        "which $noun is the $adj one", "is there $thing $place", "do you have $thing",
        "do you know when the $event starts",
        "can you tell me where $thing is", "did you know that $clause", "will it rain $when", "is it $adj $place",
        "how many people live $place", "how long does the $event take", "what did $person say about the $event",
        "have you ever been to $place2", "are you sure that $clause", "does the train to $place2 stop here",
        "what would you do with $thing", "how old is $person", "what happened $when", "what does $person do $when",
    ),
    "statement": (
        "i think the $noun is too $adj", "my $noun was $adj $when", "the $noun $place is $adj",
        "i have been $place $when",
        "we went to $place2 $when", "$person told me that $clause", "i have never seen $thing", "it is $adj $when",
        "$person is coming $when", "the $event was $adj", "i don't like the $noun", "there is $thing $place",
        "i left my $thing2 $place", "my $thing2 does not work", "we are staying $place until $day", "i live $place",
        "i was born in $year", "it takes $number hours to $place2", "the $thing2 arrived $when",
        "i bought $thing $when",
        "i would rather go to $place2 $when", "the first thing i noticed was the $noun", "i forgot the $thing2",
    ),
    "fact": (
        "my name is $name", "my name is $name and i live $place", "it is $time", "the meeting is at $time $when",
        "i am $number years old", "we are $number people", "the price is $number dollars", "it's on $day at $time",
        "my flight leaves at $time", "our table is for $number", "the code is $digits3", "room $digits3",
    ),
    "list": (
        "$item, $item and $item", "i need $item, $item, $item and $item", "we have $item, $item and $item",
        "put $item and $item on the list", "on $day, $day and $day", "$person, $person and $person",
        "first $do, then $do", "first $do, then $do, and after that $do", "either $item or $item",
        "not $item but $item", "buy $item, $item and some $item please",
    ),
    "dictated": (
        "$digits3, $digits3, $digits4", "my number is $digits3, $digits3, $digits4",
        "it's $digits2, $digits2, $digits2",
        "$digits4, $digits4, $digits4, $digits4", "oh $digits3, $digits4, $digits3", "the number is $digits4, $digits4",
        "my account number is $digits2, $digits4, $digits2", "$letter, $letter, $letter, $digits3",
        "that is spelled $letter, $letter, $letter, $letter", "plus $digits2, $digits3, $digits4",
        "$digits3 $digits3 $digits4", "my code is $digits2 $digits2",
    ),
    "digits2": ("$digit $digit",), "digits3": ("$digit $digit $digit",), "digits4": ("$digit $digit $digit $digit",),
    "digit": "zero one two three four five six seven eight nine oh".split(),
    "letter": "a b c d e f g h i j k l m n o p q r s t u v w x y z".split(),
    "number": "two three four five six eight ten twelve fifteen twenty thirty forty fifty ninety".split(),
    "year": ("nineteen eighty", "nineteen ninety two", "two thousand", "two thousand and five"),
    "time": (
        "seven", "half past six", "a quarter to nine", "ten thirty", "five o'clock", "noon", "eight fifteen",
        "six in the morning", "twenty past four", "eleven p m",
    ),
    "when": (
        "tomorrow", "today", "tonight", "on $day", "next week", "in the morning", "this evening", "in an hour",
        "at $time",
        "last summer", "every day", "before lunch", "after work", "at the weekend", "right now", "in two weeks",
    ),
    "day": "monday tuesday wednesday thursday friday saturday sunday".split(),
    "place": (
        "in $city", "near the station", "at home", "in the $room", "in this town", "on the corner", "by the river",
        "at the airport", "under the bridge", "next to the church", "in the old market", "behind the house",
    ),
    "place2": ("$city", "the airport", "the city centre", "the hospital", "the beach", "the museum", "my office"),
    "city": "london berlin madrid rome boston dublin chicago vienna lisbon oslo tokyo sydney toronto denver".split(),
    "room": "kitchen bedroom bathroom garden garage hall office cellar attic".split(),
    "device": "heating radio light television fan window dishwasher oven door curtain music".split(),
    "person": (
        "my mother", "my brother", "anna", "doctor miller", "the manager", "your friend", "john", "the driver", "peter",
        "my boss", "the neighbour", "maria", "our teacher", "my aunt", "the landlord",
    ),
    "name": ("anna smith", "peter jones", "john miller", "maria brown", "robert wilson", "emma taylor", "david clark"),
    "thing": (
        "a table for $number", "a taxi", "a hotel", "two tickets", "a good restaurant", "a doctor", "a new phone",
        "a cup of coffee", "a map of the city", "a quiet room", "a cheap flight", "an umbrella", "a bottle of water",
        "a $adj house", "a pair of shoes", "a present for $person", "the next bus", "the post office", "a bank",
        "something to eat", "a table by the window", "a book about animals", "a recipe for soup", "the invoice",
    ),
    "thing2": "password bill ticket order booking address luggage passport letter messages phone contract".split(),
    "noun": (
        "price", "colour", "size", "name", "weather", "music", "food", "traffic", "house", "car", "garden", "answer",
        "temperature", "population", "capital", "address", "story", "colour", "end", "beginning",
    ),
    "event": "concert meeting film party lesson game train match wedding show interview flight tour exam".split(),
    "adj": "big small old new warm cold expensive cheap loud quiet nice bad good difficult easy beautiful long".split(),
    "item": (
        "milk", "bread", "eggs", "apples", "some cheese", "butter", "rice", "two onions", "a bag of flour", "tomatoes",
        "chicken", "tea", "orange juice", "salt", "bananas", "a pound of sugar", "chocolate", "fish", "pasta",
    ),
}  # fmt: skip

HELD_OUT = (
    "i want to fly | to berlin on the third of march", "could you tell my wife that | i will be home by eight",
    "what is the name of | the river that flows through vienna", "please play the song | that we heard yesterday",
    "my daughter was born in | the summer of nineteen ninety", "is it true that | penguins can not fly",
    "i need a hotel that | is close to the beach", "how long do i have to | boil an egg",
    "the bill that you sent me | is much too high", "put sugar and | a bottle of vinegar on my list",
    "we would like to come | on saturday evening", "when did the | second world war end",
    "can i get a refund for | the jacket that i bought", "i'm calling because | my internet is down again",
    "set the thermostat to | nineteen degrees", "who was the first | man on the moon",
    "the doctor said that i should | drink more water", "where did you | put the keys",
    "send an email to | my landlord about the broken heater", "i usually get up at | a quarter past six",
    "my phone number is | two oh two, five five five, one eight three",
    "seven four one | nine nine two | six three eight",
    "if the weather is nice | we could go to the lake", "does this bus go to | the university",
    "read me the | last message from emma", "she has been living in | canada for ten years",
    "i think my favourite | colour is purple", "how many | legs does a spider have",
    "let me speak to | somebody from the sales department", "book me a taxi for | ten to five",
    "turn the volume | down a little", "we had a really good | dinner at the italian place",
    "i'd like two coffees and | one apple pie to take away", "do you have this shirt in | a larger size",
    "what should i | wear to a job interview", "there was an accident on | the motorway this morning",
    "what day is it", "tell me a joke", "how are you doing", "i am really tired today", "that was very kind of you",
    "where are we going", "open the window please", "the answer is twenty seven",
)  # fmt: skip
HELD_OUT_SHORT = (
    "yes", "no", "stop", "okay", "sixteen", "tuesday", "not today", "i agree", "the blue one", "hello there",
)  # fmt: skip
HELD_OUT_FILLERS = ("um", "uh", "er", "um well", "and uh")

_OUTSIDE_SHARE, _DOMAIN_SHARE = 0.22, 0.22


def plain(text: str) -> str:
    """Without marks and commas."""
    return " ".join(re.sub(r"[|,]", " ", text).split())


@cache
def _kept_back() -> frozenset[str]:
    return frozenset(plain(text) for text in HELD_OUT)


def turn_text(rng: random.Random) -> str:
    """A whole turn in lower case; commas where the voice should go on."""
    while True:
        text = _draw(rng)
        if plain(text) not in _kept_back() and len(plain(text).split()) <= _MOST_WORDS:
            return text


_MOST_WORDS = 20


def _draw(rng: random.Random) -> str:
    kind, outside = rng.random(), outside_sentences()
    if kind < _OUTSIDE_SHARE and outside:
        return rng.choice(outside)
    if kind < _OUTSIDE_SHARE + _DOMAIN_SHARE:
        intent = rng.choices(domain.INTENTS, [i.weight for i in domain.INTENTS])[0]
        return domain.ask(intent.name, rng, "train").text
    return _expand("$turn", rng)


def _expand(text: str, rng: random.Random) -> str:
    return re.sub(r"\$(\w+)", lambda match: _expand(rng.choice(_GRAMMAR[match[1]]), rng), text)


def unfinished_text(rng: random.Random) -> str:
    """Words that are plainly not all: to be spoken as a whole, with a falling intonation."""
    if rng.random() < 0.5:
        return rng.choice(_PREFIXES)
    words = plain(turn_text(rng)).split()
    cuts = [index for index in range(1, len(words)) if words[index - 1] in _OPEN_WORDS]
    return " ".join(words[: rng.choice(cuts)]) if cuts else rng.choice(_PREFIXES)


_OPEN_WORDS = frozenset(
    "a an the to for of in at on with and or but because if my your our their his from by about into than as is are "
    "was were would could should can will do does did i we he she they who which when where what how some any every "
    "very too so not i'd i'm we'd it's that's there's please".split()
)
