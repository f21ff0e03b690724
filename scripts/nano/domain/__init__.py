"""The domain of nano: what people ask at a desk and at home, and what is right to answer.

Phrasings are text files (phrasings/), slots are closed lists (`vocabulary`), and an `Intent` (`talk`, `actions`,
`followups`, `custom`) says what is answered, or which tool is wished for. `scenes` puts conversations together.
User texts are lower case without punctuation, as a recogniser hears them; replies are written the way they are spoken.

    python -m scripts.nano.domain --show 20          # look at samples
    python -m scripts.nano.domain --write DIR        # replies.txt, words.txt
"""

from scripts.nano.domain.intents import (
    CANNOT as CANNOT,
)
from scripts.nano.domain.intents import (
    SORRY as SORRY,
)
from scripts.nano.domain.intents import Act as Act
from scripts.nano.domain.intents import Asked as Asked
from scripts.nano.domain.intents import Exchange as Exchange
from scripts.nano.domain.intents import Intent as Intent
from scripts.nano.domain.intents import Situation as Situation
from scripts.nano.domain.judging import intent_of as intent_of
from scripts.nano.domain.judging import plain as plain
from scripts.nano.domain.judging import right_call as right_call
from scripts.nano.domain.judging import right_intent as right_intent
from scripts.nano.domain.judging import right_reply as right_reply
from scripts.nano.domain.moments import INSTRUCTIONS as INSTRUCTIONS
from scripts.nano.domain.moments import TIMELESS_PROMPTS as TIMELESS_PROMPTS
from scripts.nano.domain.moments import TRANSCRIBE as TRANSCRIBE
from scripts.nano.domain.moments import Context as Context
from scripts.nano.domain.moments import sample_context as sample_context
from scripts.nano.domain.moments import system_prompt as system_prompt
from scripts.nano.domain.numbers import VALUE as VALUE
from scripts.nano.domain.numbers import sentence as sentence
from scripts.nano.domain.numbers import spoken_digits as spoken_digits
from scripts.nano.domain.numbers import spoken_number as spoken_number
from scripts.nano.domain.phrasings import choose as choose
from scripts.nano.domain.scenes import ABOUT_MOMENT as ABOUT_MOMENT
from scripts.nano.domain.scenes import BY_NAME as BY_NAME
from scripts.nano.domain.scenes import INTENTS as INTENTS
from scripts.nano.domain.scenes import Odds as Odds
from scripts.nano.domain.scenes import Scene as Scene
from scripts.nano.domain.scenes import answer as answer
from scripts.nano.domain.scenes import ask as ask
from scripts.nano.domain.scenes import draw_scene as draw_scene
from scripts.nano.domain.scenes import meant as meant
from scripts.nano.domain.scenes import random_intent as random_intent
from scripts.nano.domain.scenes import sample as sample
from scripts.nano.domain.talk import GREETINGS as GREETINGS
from scripts.nano.domain.talk import OUTSIDE as OUTSIDE
from scripts.nano.domain.talk import count_reply as count_reply
from scripts.nano.domain.texts import reply_texts as reply_texts
from scripts.nano.domain.texts import word_list as word_list
