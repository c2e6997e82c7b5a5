"""The little corpus every fixture is made from: sixty questions and answers about everyday things.

Written for this project. Lengths run from a few words to several sentences; some entries hold line breaks, accents,
signs outside ASCII or emoji, and one question is so long that its answer falls outside 64 tokens.
"""

INSTRUCTION = "Answer this question truthfully"

PAIRS = [
    ("When do I sow peas?", "In early spring, as soon as the soil can be worked."),
    ("Why is my bicycle chain noisy?", "It is dry or dirty. Clean it, then oil it."),
    ("What makes bread rise?", "Yeast makes gas."),
    ("How hot is a simmer?", "About 90 °C: small bubbles, no rolling boil."),
    ("Is fog a cloud?", "Yes. Fog is a cloud that touches the ground."),
    (
        "How do I mend a flat tyre?",
        "Take the wheel off and pull out the tube.\nFind the hole with a little water.\nRoughen the rubber, spread the "
        "glue, wait until it is dull, and press the patch on.\nCheck the tyre for the thorn before you put it back.",
    ),
    ("Can I freeze soup?", "Yes."),
    ("How often should I water tomatoes?", "Deeply, two or three times a week. Less when it rains."),
    (
        "My kitchen knife was sharp when I bought it two years ago, but now it slides off the skin of a tomato and "
        "crushes the bread, and my neighbour says that the dishwasher is to blame while my sister blames the glass "
        "board on which I cut everything; who of the two is right?",
        "Both are right.",
    ),
    ("What is a café crème?", "Coffee with warm milk."),
    ("Why does the wind blow?", "Air moves from high pressure to low pressure."),
    ("What do worms eat?", "Dead leaves and other soft plant matter."),
    ("How long do eggs boil?", "Soft: 5 minutes. Hard: 10 minutes."),
    ("Do bees sleep?", "Yes, mostly at night 🐝."),
    (
        "Which tools belong in a saddle bag?",
        "A spare tube, two tyre levers, a small pump, a set of hex keys and a few patches. On a long ride a chain "
        "link and a bank note are worth their weight.",
    ),
    ("Is hail frozen rain?", "It is ice built up in layers inside a storm."),
    ("What is compost?", "Plant waste that has rotted down into dark, crumbly soil."),
    ("How do I clean a burnt pan?", "Boil water with a spoon of soda in it, let it stand, then scrub."),
    ("When is the best time to prune roses?", "Late winter, before the buds swell."),
    ("What does a barometer show?", "The pressure of the air. A quick fall often means wind and rain."),
    ("How high should a saddle be?", "With your heel on the pedal, the leg is straight."),
    ("Why do onions make us cry?", "Cutting them sets free a gas that stings the eyes."),
    ("Can I grow herbs indoors?", "Yes, on a bright sill. Basil, mint and chives do well."),
    ("What is dew?", "Water from the air that settles on cold grass."),
    ("How do I keep slugs away?", "Water in the morning, clear their hiding places and gather them at dusk."),
    (
        "What do I need for a simple vegetable soup?",
        "For four people:\n- two carrots\n- one leek\n- three potatoes\n- a litre of water\n- salt and pepper\n\n"
        "Cut everything small, cook it for 20 minutes and season it at the end.",
    ),
    ("Why are leaves green?", "Because of chlorophyll."),
    ("What is a headset on a bicycle?", "The bearings in which the fork turns."),
    ("How far away is a storm?", "Count the seconds between flash and thunder and divide by three: kilometres."),
    ("Should I wash mushrooms?", "Briefly, just before cooking."),
    ("How deep do I plant bulbs?", "Three times as deep as the bulb is high."),
    ("What is sleet?", "Rain mixed with snow."),
    ("Which flour is best for a pizza?", "A strong wheat flour, because its dough stretches without tearing."),
    ("My brakes squeal. What can I do?", "Clean the rim or the disc, then check that the pads sit straight."),
    ("Does a watched pot boil slower?", "No, it only feels so."),
    ("What colour is the sky on Mars?", "By day it is butterscotch; around sunset it turns blue."),
    (
        "Why should crops change places every year?",
        "Each family of plants takes its own share of food from the soil and leaves its own pests behind. Where the "
        "same crop returns every year, the pests wait for it. Beans after cabbage, and roots after beans, keep the "
        "bed healthy.",
    ),
    ("How do I store carrots?", "Cool, dark and moist, in a box of sand."),
    ("What is the jet stream?", "A narrow band of very fast wind about 10 km up."),
    ("Is it safe to ride in fog?", "With lights and bright clothes, slowly, yes; better to wait."),
    ("How do I keep basil alive?", "Pick from the top, never the lower leaves, and water the saucer."),
    ("What does al dente mean?", "Firm to the bite."),
    ("Why does metal feel colder than wood?", "It draws the heat out of your hand faster."),
    ("How do I true a wheel?", "Turn the spoke nipples a quarter turn at a time where the rim leans to one side."),
    ("Do plants need light at night?", "No."),
    ("What is a rainbow?", "Sunlight split by drops of rain 🌈."),
    ("How much salt goes in pasta water?", "About 10 g for each litre."),
    ("When do swallows leave?", "In September, when the insects become few."),
    ("Why does my cake sink?", "The oven was opened too soon, or the middle was not yet baked."),
    ("What is mulch good for?", "It keeps the soil moist, feeds it and holds the weeds down."),
    ("Which tyre pressure is right?", "The range is printed on the side. Heavier riders need more."),
    ("Can it snow above 0 °C?", "Yes, when the air is dry or the cold layer is just above."),
    ("How do I ripen an avocado?", "Put it in a paper bag with an apple for two days."),
    ("What is a piñata made of?", "Paper and paste."),
    ("How do I prick out seedlings?", "Lift them by a leaf, never by the stem, and set them deeper."),
    ("Why is the sea salty?", "Rivers carry salt from the rocks, and only the water leaves again."),
    (
        "What should I check before a long ride?",
        "1. Tyres: pressure and cuts.\n2. Brakes: do both bite?\n3. Chain: clean and oiled.\n4. Lights: charged.\n"
        "5. Weather: look at the wind as well as the rain.",
    ),
    ("How do I read a cloudy sky?", "High thin veils come first, then grey sheets; rain follows within a day."),
    ("Is rhubarb a fruit?", "No, a vegetable, although it mostly ends up in a crumble."),
    ("What is naïve baking?", "A joke: it means trusting the clock — not the oven."),
]


def records():
    """The corpus in the layout of the medical flashcards: a list of instruction, input and output."""
    return [{"instruction": INSTRUCTION, "input": q, "output": a} for q, a in PAIRS]


def format_record(record):
    """The three-line text a record becomes."""
    return f"{prompt_of(record)} {record['output']}"


def prompt_of(record):
    """The part of the text that precedes the answer; it ends with the colon after `Response`."""
    return f"Instruction: {record['instruction']}\nQuestion: {record['input']}\nResponse:"
