"""The closed lists of things that slots are filled with; all lower case, as a recogniser hears them."""

from __future__ import annotations

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = tuple("January February March April May June July August September October November December".split())
MONTH_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


CITIES = _names(
    "paris, berlin, rome, madrid, london, tokyo, beijing, moscow, athens, vienna, warsaw, stockholm, oslo, cairo, "
    "ottawa, dublin, lisbon, havana, budapest, helsinki, new york, boston, chicago, houston, dallas, denver, "
    "seattle, miami, toronto, montreal, sydney, melbourne, singapore, hong kong, shanghai, dubai, mumbai, delhi, "
    "bangkok, munich, hamburg, milan, venice, naples, barcelona, lyon, geneva, zurich, brussels, amsterdam, "
    "copenhagen, prague, "
    "san francisco, los angeles, las vegas, manchester, glasgow, istanbul, jakarta, seoul, rio, mexico city"
)
NAMES = _names(
    "anna, peter, maria, john, lisa, tom, sarah, david, laura, paul, emma, mark, julia, james, alice, robert, nina, "
    "oscar, helen, martin, sophie, daniel, kate, simon, clara, victor, ruby, felix, diana, henry, olivia, leo, emily, "
    "jack, lucy, george, rachel, steven, susan, michael, linda, kevin, carol, brian, grace, eric, monica, adam"
)
PERSONS = _names(
    "albert einstein, marie curie, isaac newton, charles darwin, william shakespeare, john lennon, elvis presley, "
    "abraham lincoln, george washington, charlie chaplin, walt disney, neil armstrong, pablo picasso, frida, mozart, "
    "leonardo, napoleon, cleopatra, julius caesar, queen victoria, nelson mandela, martin luther king, jane austen, "
    "charles dickens, mark twain, agatha christie, alfred hitchcock, marilyn monroe, michael jackson, henry ford"
)
PROFESSIONS = _names(
    "writer, painter, singer, actor, scientist, king, queen, teacher, doctor, pilot, soldier, farmer, player, dancer"
)
ITEMS = _names(
    "milk, bread, butter, cheese, eggs, apples, bananas, oranges, tomatoes, potatoes, onions, carrots, rice, pasta, "
    "sugar, salt, flour, coffee, tea, juice, water, beer, wine, chicken, fish, meat, soap, shampoo, paper, batteries, "
    "chocolate, cookies, honey, jam, yogurt, lemons, grapes, pepper, oil, candles, flowers, soup, beans, corn, pizza, "
    "salad, toothpaste, dog food, cat food, ice cream"
)
TASKS = _names(
    "call mother, call the doctor, water the plants, feed the cat, walk the dog, take out the trash, buy milk, "
    "wash the car, clean the kitchen, pay the rent, do the laundry, take the medicine, drink water, go to bed, "
    "check the oven, open the window, close the window, pick up the children, send the letter, read the book, "
    "write to anna, visit the bank, do my homework, cook dinner, make coffee, lock the door, charge the phone, "
    "go for a run, meet peter, book a table, bake a cake, fix the bike, call the office, buy flowers, stretch, "
    "turn off the heater, check the mail, study, go shopping, leave the house"
)
ROOMS = _names("kitchen, bedroom, living room, bathroom, office, hall, garden, garage, dining room, cellar")
COLOURS = _names("red, blue, green, yellow, white, orange, purple, pink")
MUSIC = _names("jazz, rock, classical, pop, piano, dance, country, folk, christmas, guitar, relaxing, happy")
DEPARTMENTS = _names("sales, support, billing, service, reception, the manager, marketing, shipping")
CONDITIONS = _names("sunny, cloudy, rainy, windy, snowy, foggy, stormy, clear")
TOPICS = _names(
    "black holes, the roman empire, dinosaurs, volcanoes, the moon, the eiffel tower, football, chess, ice cream, "
    "electric cars, bees, whales, the ocean, mount everest, the olympic games, robots, solar power, tea, coffee, "
    "pyramids, penguins, tigers, the amazon river, the great wall, the titanic, rainbows, earthquakes, opera, "
    "cheap flights, hotels in paris, a good restaurant, a pizza recipe, train times, the train station, "
    "a birthday present, cinema tickets, the nearest bank, the nearest pharmacy, used bikes, guitar lessons"
)
ASSISTANT_NAMES = _names("Max, Ruby, Oscar, Luna, Felix, Iris, Hugo, Stella, Robin, Sam, Clara, Leo")
TITLES = _names("captain, sir, madam, boss, doctor, my friend, chief, your majesty, master, darling")

REPEAT_WORDS = tuple(
    """
    apple baby ball bank bath bear bed bell bird blue boat book bottle box boy bread bridge brother
    butter cake camera candle car carpet castle cat chair cheese cherry church circle city clock
    cloud coffee computer corn cotton cup daddy dance danger desk dinner doctor dog dollar door
    dragon dream dress driver easy engine evening family farmer father feather finger fire fish
    flower football forest fork friend fruit garden giant girl glass gold green guitar hammer hand
    happy hat heart heaven honey horse hospital hotel house island jacket jelly juice jungle kettle
    key kitchen kitten ladder lake lamp lemon letter lion lucky machine magic market meadow melon
    metal midnight milk mirror money monkey moon morning mother mountain mouse music nature needle
    north number ocean office onion orange owl paper party pencil people pepper picture pizza planet
    pocket poem potato power prince purple queen question rabbit radio rain river road robot rocket
    roof rose sailor salad salt sand sandwich school seven shadow ship shoe silver sister sky snow
    soap soldier spoon spring star station storm story strawberry street sugar summer sun sunday
    table teacher tiger tomato tower train tree turtle umbrella uncle valley village violin wagon
    wall water weather welcome window winter wizard wolf woman wonder yellow zebra
    """.split()
)

CUSTOM_VERBS = tuple(
    "open close start stop lock unlock feed clean check charge move lift drop pause lower raise warm cool fill empty "
    "send order find show save load print scan park wash paint fix hide connect test reset rent deliver".split()
)
CUSTOM_OBJECTS = tuple(
    "gate door window garage curtain roof box oven heater fan pump robot camera printer car boat train machine coffee "
    "dishwasher washer fridge shower bath pool fountain fence elevator drone vacuum radio television tv phone computer "
    "blinds sprinkler mower bell safe cabinet drawer kettle toaster mixer engine bridge tank tent bike scooter bus "
    "taxi package letter report ticket room desk table photo game".split()
)
CUSTOM_PERSON_VERBS = tuple("invite greet page visit message thank welcome follow block text".split())
CUSTOM_THING_VERBS = tuple(
    "draw define describe translate bring sell collect cook bake throw pick grow count hide".split()
)
CUSTOM_THINGS = (*REPEAT_WORDS[:120:2], *ITEMS[:24])
CUSTOM_STATES = tuple("open closed ready clean full empty on off hot cold broken locked busy fine new slow".split())


def capitalised(name: str) -> str:
    """Write a name of people or places as it is written: "New York"."""
    return " ".join(word.capitalize() for word in name.split())


PROPER = frozenset(w for name in (*CITIES, *NAMES, *PERSONS) for w in name.split()) | frozenset(
    w.lower() for w in (*WEEKDAYS, *MONTHS, *ASSISTANT_NAMES)
)
"""Words that are written with a capital wherever they stand."""
