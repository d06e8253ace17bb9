#!/usr/bin/env python3
"""Writes children's stories from a small generative grammar: the whole training text of the demo model.

Every word the model ever sees is in this file, so its text carries this project's own licence and nobody else's.

    stories.py --count 5 --seed 1        prints five stories

How a story is made: a cast and its props are drawn first (so that names, pronouns and things stay the same from the
first line to the last), then one of the plots, a list of beats in causal order, is expanded. In a beat,
`{a|b|c}` is one of several wordings (they nest, and an empty one means "leave it out") and `{name}` is a fact of this
story; `{Name}` is the same fact with a capital letter.
"""

import argparse
import random
import re

GIRLS = "Anna Lily Mia Sara Rosa Nora Ella Ivy Clara Maya Ruth Hana Emma Zoe Lucy Tess Greta Ada".split()
BOYS = (
    "Tom Ben Sam Leo Max Jack Finn Otto Hugo Theo Noah Adam Eli Felix Oscar Paul Luca Emil".split()
)
ANIMAL_NAMES = "Pip Bramble Dot Hazel Moss Biscuit Clover Pepper Button Nutmeg Puddle Acorn Willow Sunny".split()
ANIMALS = "rabbit fox mouse bear duck squirrel hedgehog frog owl turtle cat puppy goat lamb kitten badger".split()
WILD = "rabbit fox mouse squirrel hedgehog frog owl turtle bird deer duck otter".split()
WINGED = ("owl", "bird", "duck")
GROWN_UPS = [
    ("mother", "she"),
    ("father", "he"),
    ("grandmother", "she"),
    ("grandfather", "he"),
    ("aunt", "she"),
    ("uncle", "he"),
    ("big sister", "she"),
    ("big brother", "he"),
]
TRAITS = "kind brave shy curious clever quiet cheerful gentle careful busy patient dreamy proud lively".split()
COLOURS = "red blue green yellow white brown golden silver purple orange".split()
TOYS = "kite ball drum boat whistle doll lantern hat scarf book bell button wagon ribbon puppet basket".split()
FOODS = "bread cake soup apples berries cheese pancakes honey cookies pie nuts plums carrots pears".split()
TREATS = "an apple pie|a plum cake|a pot of soup|a loaf of bread|a berry pie|a plate of pancakes|a honey cake".split(
    "|"
)
PLACES = [
    "in the garden",
    "by the river",
    "near the pond",
    "on the hill",
    "in the meadow",
    "in the forest",
    "by the old mill",
    "at the edge of the village",
    "under the big oak tree",
    "by the sea",
]
HIDING = [
    "under the bed",
    "behind the old barn",
    "beside a big stone",
    "in the tall grass",
    "under a bush",
    "behind the wooden gate",
    "in a pile of leaves",
    "near the well",
    "on top of the wall",
    "under the bridge",
]
HOMES = [
    "in a small house by the river",
    "in a village near the sea",
    "on a farm at the foot of a hill",
    "in a little house in the forest",
    "in a town with narrow streets",
    "in a cottage with a green door",
    "at the edge of a quiet wood",
    "in a tall house near the market",
]
BURROWS = [
    "in a hollow tree",
    "in a warm burrow under the hill",
    "near a deep pond",
    "at the edge of a quiet wood",
    "under the roots of an old oak",
    "behind a farm",
    "in a nest of moss and leaves",
]
LIKES = [
    ("paint pictures", "painting pictures"),
    ("climb trees", "climbing trees"),
    ("sing songs", "singing songs"),
    ("count the stars", "counting the stars"),
    ("look for shells", "looking for shells"),
    ("build towers", "building towers"),
    ("listen to stories", "listening to stories"),
    ("run in the wind", "running in the wind"),
    ("collect leaves", "collecting leaves"),
    ("watch the clouds", "watching the clouds"),
    ("dance in the rain", "dancing in the rain"),
    ("pick flowers", "picking flowers"),
    ("bake bread", "baking bread"),
    ("jump over puddles", "jumping over puddles"),
]
SEASONS = ["spring", "summer", "autumn", "winter"]
TIMES = [
    "One day",
    "One morning",
    "One afternoon",
    "One sunny day",
    "One cold morning",
    "One windy day",
    "One evening",
    "One warm day",
    "On a bright morning",
    "One quiet afternoon",
    "Early one morning",
]
FEARS = [
    (
        "the dark",
        "At night the room was full of shadows",
        "The shadow was only a coat on a chair",
        "{mentor} gave {him} a small lamp",
    ),
    (
        "thunder",
        "The sky rumbled and the windows shook",
        "The storm was only noise and rain",
        "{mentor} taught {him} to count between the flash and the rumble",
    ),
    (
        "deep water",
        "The water looked cold and had no end",
        "The water held {him} up like a soft bed",
        "{mentor} held {his} hand and went in first",
    ),
    (
        "the tall slide",
        "It was as high as a house and it shone in the sun",
        "The ride was quick and full of wind",
        "{mentor} promised to wait at the bottom",
    ),
    (
        "the big dog next door",
        "It barked very loudly each time somebody walked by",
        "The dog only wanted to play",
        "{mentor} showed {him} how to hold out a hand and wait",
    ),
    (
        "singing in front of people",
        "So many eyes would look at {him}",
        "The people clapped and asked for one more song",
        "{mentor} told {him} to sing to one friendly face",
    ),
    (
        "the old bridge",
        "It creaked and moved in the wind",
        "The bridge was strong and only a little noisy",
        "{mentor} walked over it first and came back",
    ),
    (
        "sleeping in the tent",
        "The wind made strange sounds in the trees",
        "The strange sound was only an owl",
        "{mentor} named every sound of the night for {him}",
    ),
]
BUILDS = [
    ("a bridge", "over the stream", "branches and rope", "fell into the water"),
    ("a tree house", "in the old oak", "boards and nails", "came down with a crash"),
    ("a boat", "for the pond", "bark and string", "filled with water and sank"),
    ("a kite", "for the windy hill", "paper and sticks", "broke in the first wind"),
    ("a snow castle", "in front of the house", "snow and ice", "fell in on one side"),
    ("a nest box", "for the birds", "old boards", "would not stay on the tree"),
    ("a cart", "to carry the apples", "a box and four wheels", "lost a wheel on the first hill"),
    ("a tower", "near the gate", "flat stones", "leaned over and fell down"),
]
HURTS = [
    ("a hurt wing", "could not fly", "flew up into the sky"),
    ("a thorn in its foot", "could not walk", "ran off into the grass"),
    ("a hurt leg", "could not run", "jumped over the fence"),
    ("a string around its leg", "could not get away", "went free at last"),
]
SEEDS = [
    ("seed", "sunflower", "as tall as the door"),
    ("seed", "pumpkin", "as big as a wheel"),
    ("bean", "bean plant", "up to the roof"),
    ("nut", "little tree", "up to {his} knee"),
    ("seed", "rose bush", "all over the wall"),
    ("seed", "carrot", "as long as an arm"),
]
MAGIC = [
    ("lamp", "It gave light only when somebody told the truth"),
    ("pebble", "It grew warm when somebody was kind"),
    ("bell", "It rang by itself when a friend was near"),
    ("key", "It opened every door but only for a helpful hand"),
    ("shell", "It sang softly to whoever was sad"),
    ("mirror", "It showed not faces but feelings"),
    ("feather", "It made whoever held it as light as a leaf"),
    ("coin", "It came back each time somebody gave it away"),
]
WEATHER = [
    (
        "rain",
        "Dark clouds came over the hill and rain began to fall",
        "The rain stopped and a rainbow stood over the trees",
    ),
    (
        "snow",
        "Big white flakes began to fall and soon the path was gone",
        "The snow stopped and everything was white and still",
    ),
    ("fog", "A thick fog came up from the river", "The fog went away and the sun came out"),
    (
        "wind",
        "A strong wind came and shook the trees",
        "The wind grew quiet and the leaves lay still",
    ),
    (
        "storm",
        "The sky turned black and a storm began",
        "The storm moved on and the first star came out",
    ),
]

# Who the story is about. `{intro}` becomes "a kind girl named Anna" or "a shy rabbit called Pip".
OPEN = [
    "{Once upon a time there was {intro}.|Once upon a time, there was {intro}.|Once upon a time, there lived {intro}.|"
    "Once upon a time there was {intro}.|There was once {intro}.|Long ago there lived {intro}.} "
    "{{Name} lived {home} with {his} {grown}. |{Name} lived {home}. |}"
    "{{Name} loved to {like}. |{Name} liked {liking} more than anything else. |Every day {name} went out to {like}. |"
    "Every morning {name} played {place}. |{He} had a {colour} {toy} and liked {liking}. |"
    "Everybody said that {name} was very {trait2}. |}",
    "{Once upon a time, {intro} lived {home}.|Once upon a time, {home}, there lived {intro}.|"
    "{Home}, {where the wind was always singing|where nothing much ever happened|far away from here}, there lived {intro}.} "
    "{{Name} loved to {like}. |{He} was {trait2} too, and {he} liked {liking}. |{His} {grown} often told {him} stories. |"
    "{Name} and {his} {grown} were always busy. |}",
]

FRIEND_ENDING = "{From that day on|After that|From then on}, {name} and {friend} were {the best of friends|good friends|always together}."
ENDINGS = [
    "{That night|That evening}, {name} {fell asleep with a smile|slept very well|went to bed tired and happy|dreamed of {dream}}.",
    "{Name} {was very happy|felt warm inside|smiled all the way home|was proud and a little tired}.",
    "And {when the {season} came again|every year after that|many times after that}, {name} {told the story|remembered that day}.",
    "{Name} {hugged|thanked} {his} {grown} and {they ate {food} together|they walked home under the stars|they both laughed}.",
    "{They all sat down by the fire and ate {food}.|They laughed and danced until the moon came up.|They sat together and watched the sun go down.}",
]
DREAMS = [
    "a {colour} {toy}",
    "the sea",
    "flying over the hills",
    "a garden full of flowers",
    "a long road and a {colour} door",
]

LOST = [
    "{When}, {name} {went to play {place}|took {his} {thing} {place}|ran out to play with {his} {thing}}. {He} {put it down for a moment|jumped and danced and looked at the clouds|played until {he} was hungry}. {When {he} looked again|A little later|When it was time to go home}, the {thing} was gone.",
    '{"Oh no! Where is my {thing}?" cried {name}.|"My {thing} is gone!" said {name}, and {his} eyes filled with tears.|{Name} looked {here and there|left and right}, but {he} could not see it anywhere.} {{He} was very sad.|{His} heart felt heavy.|{He} sat down and did not know what to do.|}',
    '{{Friend} the {friendkind} {came by|heard {him}|was passing by}.|Just then {friend} the {friendkind} came along.} "{Why are you so sad|What is wrong|Why do you cry}?" asked {friend}. "I lost my {thing}," said {name}. "{Do not cry|Do not worry|Cheer up}. {I will help you|We will look together|Two can see more than one}!" said {friend}.',
    "{They looked {hide1}, but {there was nothing|they found only {a stick|an old shoe|some leaves}}.|First they looked {hide1}. There was nothing.} Then they looked {hide2}. {They asked {a bird|the wind|an old {wild}}, but {it|nobody} did not know.|They called and they searched for a long time.|}",
    '{At last|Then|After a while}, {friend} saw something {colour} {hide3}. {"Look!" called {friend}. "Is that your {thing}?"|"Is this it?" asked {friend}.} {"Yes! That is my {thing}!" {said|cried|laughed} {name}.|It was the {thing}!} {{Name} was so glad that {he} {jumped up and down|danced in a circle|hugged {friend}}.|}',
    '"{Thank you|Thank you so much}, {friend}," said {name}. "{You are a true friend|Now we can play together|I will be more careful next time}." {They played with the {thing} until {the sun went down|it was dark|supper time}.|}',
]
FRIEND = [
    "{But {name} had nobody to play with.|But {name} was often {alone|lonely}.|{Name} wished for a friend.} {When}, {he} {walked {place}|went for a walk {place}|sat {place}} and {heard a small sound|saw somebody new|heard somebody {singing|crying} softly}.",
    'It was {a|a little|a small} {friendkind}. {The {friendkind} {looked at {him} with big eyes|was shy and hid {hide1}|sat very still}.|} "{Hello|Good day|Hello there}," said {name}. "{What is your name|Who are you}?" "{My name is|I am} {friend}," said the {friendkind}. "{I am new here|I do not know anybody here|I have no friends here}."',
    '{"Do you like {food}?" asked {name}. {He} had some in {his} bag.|"Would you like to play with my {thing}?" asked {name}.|"Can you teach me how to {like}?" asked {friend}.} {"Oh yes!" said {friend}, and {his2} eyes were bright.|{Friend} {thought about it|waited a moment} and then smiled. "I would like that," {he2} said.}',
    "{So they {sat down and shared the {food}|played with the {thing}|ran up the hill and down again}.|All day long they {played|ran and laughed} {place}.} {{Friend} showed {name} {a secret path|how to walk without a sound|where the best berries grew}.|{Name} showed {friend} {how to {like}|the house and the garden|a {colour} stone}.} {They laughed a lot.|The time went by very fast.|}",
    'When {the sun went down|it grew dark|the first star came out}, {name} had to go home. "{Will you come back tomorrow|Can we play again tomorrow|Will I see you again}?" asked {friend}. "{Of course|Yes, I will|Every day}!" said {name}. "{We are friends now|That is what friends do|I promise}."',
]
WEATHERED = [
    '{When}, {name} and {friend} the {friendkind} {were {place}|walked a long way|went to look for {food}}. {{Weather}.|They were having a good time, but then the sky changed. {Weather}.} {"We must go home!" said {friend}.|"I am cold," said {friend}.|"I cannot see the path," said {name}.}',
    '{They ran as fast as they could, but home was {too far|far away}.|They walked close together, but every tree looked the same.} {"{Are we lost|What can we do}?" asked {friend}. {His2} voice was small.|{Friend} began to cry.|{Friend} held on to {name} and shook.}',
    '{Name} {was afraid too, but {he} tried to be brave|thought hard|took a deep breath}. {"Look, there is {a cave|a hollow tree|an old barn|a little hut}!" {he} said. "{Let us wait there|We will be safe inside}."|Then {he} saw {a light between the trees|an old hut|a dry place under a rock}. "Come with me," {he} said.}',
    "{Inside|There} it was {dry and warm|dark but dry|small but warm}. {They {shared the last of the {food}|told each other stories|sang a song to feel better}.|{Name} told a story about {dream}, and {friend} {forgot to be afraid|began to smile}.} {They listened to the {weathername} outside.|Little by little the {weathername} grew quiet.|}",
    '{{Clear}.|After a long time, they looked out. {Clear}.} {"It is over!" said {friend}.|"How beautiful!" said {name}.} {They found the path and walked home|They walked home hand in hand}, and {his} {grown} {was waiting at the door|gave them hot {soup|milk|tea}}.',
    '{"I was so afraid," said {friend}. "So was I," said {name}. "But {it is easier to be brave together|we had each other}."|"You were very brave," said {his} {grown}.|}',
]
BUILD = [
    '{When}, {name} {had an idea|had a big plan}. "I will build {build} {buildfor}," {he} said. {{He} looked for {stuff}.|{He} worked all {morning|day} with {stuff}.} {{His} {grown} asked, "Do you need help?" "No," said {name}. "I can do it alone."|{Friend} the {friendkind} wanted to help, but {name} said, "No, I will do it by myself."}',
    '{But it was {harder than {he} thought|not so easy}.|{Name} was in a hurry and did not look closely.} {In the end|Soon} it was ready, but it {fail}! {{Name} was angry and {kicked a stone|stamped {his} foot}.|{Name} sat down and {cried|hid {his} face}.|"It is no good," said {name} sadly.}',
    '{{Friend} the {friendkind} {sat down beside {him}|came back}. "{Let us try again|Everybody falls the first time}. {I can hold it while you work|Four hands are better than two}."|{His} {grown} came and looked. "{You made a good start|It is not so bad}," {she} said. "{Try once more, but slowly|Let us look for what went wrong}."}',
    '{{Name} {nodded|dried {his} eyes}.|{Name} thought about it. "You are right," {he} said.} {So they began again. {Friend} {held|carried} the {heavy|long} parts and {name} put them in place.|This time they {worked slowly|looked at every part twice|made it {stronger|lighter}}.} {They {laughed and worked|sang and worked} until {evening|the work was done}.|}',
    '{At last|When the sun was low}, {build} stood there, {strong and fine|better than before|and it did not fall}. {"We did it!" they {cried|shouted}.|"It is perfect!" said {friend}.} {Everybody came to {see it|try it}.|Even {his} {grown} {clapped|was surprised}.}',
    '{{Name} had learned that {it is good to ask for help|a mistake is only a first step|two friends can do more than one}.|"Next time I will ask you first," said {name}.|}',
]
FEAR = [
    "{But there was one thing: {name} was afraid of {fear}.|Only one thing was hard for {name}: {he} was afraid of {fear}.} {Feartext}. {{He} {did not want anybody to know|always ran away|hid {hide1} when {he} thought of it}.|{His} knees shook when {he} thought about it.}",
    '{When}, {friend} the {friendkind} {asked {name} to come along|wanted to show {him} something|invited {him}}. {"I cannot," said {name} softly. "I am afraid of {fear}."|{Name} looked at {his} feet. "I am afraid," {he} said.} {{Friend} did not laugh.|"Do not be ashamed," said {friend}. "I am afraid of {things} too."}',
    '{{Name} asked {his} {grown} what to do.|So {name} went to {his} {grown}.} {"Everybody is afraid of something," said {his} {grown}. "{Being brave means trying anyway|Take one small step at a time|Fear gets smaller when you look at it}."|{His} {grown} listened and {took {his} hand|smiled kindly}.} Then {feartip}.',
    "{That same day|The next day|A few days later}, {name} {tried|wanted to try}. {{His} heart beat fast|{He} took a deep breath|{He} closed {his} eyes and counted to three}. {One step, two steps, and then {he} did it.|{He} was still afraid, but {he} did not run away.} {Fearend}!",
    '{"I did it!" {cried|shouted} {name}.|"It was not so bad," said {name}.|{Name} laughed out loud.} {"I knew you could," said {friend}.|{His} {grown} was very proud.|{Friend} {clapped|cheered}.} {After that, {name} was not afraid of {fear} anymore.|The next time it was much easier.}',
]
SHARE = [
    '{When}, {name} {got|found} a {colour} {thing}. {It was the most beautiful {thing} in the {village|world}.|{He} would not put it down for a moment.} {Friend} the {friendkind} {saw it|came to see it}. "{May I play with it|Can I hold it|Can I have a turn}?" asked {friend}. "No! It is mine!" said {name}.',
    '{{Friend} {was sad|looked down} and went away.|"That is not kind," said {friend}, and {he2} went home.} {{Name} played alone {place}.|{Name} had the {thing} all to {himself}.} {At first it was fun.|It was fun for a little while.} But {soon|after a time} {it was not fun anymore|the {thing} was not so nice|{he} felt lonely}.',
    '{{His} {grown} saw {his} sad face. "{Why do you not play with {friend}|What is the matter}?" {she} asked. {Name} told {her} everything. "{A {thing} is more fun for two|Friends are worth more than things}, my dear," {she} said.|{Name} thought of {friend} and of all the fun they had had. "I was not kind," {he} said to {himself}.}',
    '{So {name} ran to {friend}\'s house|{Name} went to look for {friend} and found {him2} {hide1}}. "{I am sorry|I am so sorry}, {friend}," {he} said. "{I should have shared|I was wrong|I was not a good friend}. {Please come and play with me|You can have the first turn}."',
    '{{Friend} {smiled|looked up}. "{Thank you|I forgive you}. {Let us go|I would love to}," {he2} said.|{Friend} was still a little sad, but then {he2} smiled. "All right," {he2} said.} {They took turns with the {thing}, and it was twice as much fun.|They played together all {day|afternoon}.}',
    '{{Name} {learned|knew now} that sharing makes {everything better|two people happy}.|"It is better with you," said {name}.|}',
]
GIFT = [
    '{Soon it was {grown}\'s birthday|It would soon be the birthday of {his} {grown}}. {{Name} wanted to give {her} something special, but {he} had no money.|"What can I give {her}?" thought {name}. {His} pockets were empty.}',
    '{{He} asked {friend} the {friendkind}. "{Give something that you made|What does {she} like best}," said {friend}.|{He} walked {place} and thought and thought.} {"I know!" {said|cried} {name}. "I will {make|bake} {treat}!"|Then {he} had an idea. {He} would {make|bake} {treat}.}',
    "{They looked for {food} {place}.|{Name} went to the market and {carried baskets for an old woman|swept the floor for the baker}, and for this {he} got {flour|milk} and {eggs|sugar}.} {It was hard work.|It took all day.|} {Then they mixed everything in a big {bowl|pot}.|They worked quietly so that nobody would hear.} {The kitchen smelled wonderful.|There was flour on {his} nose.|}",
    '{But oh, the first one {burned|fell on the floor}! {Name} nearly cried. "We still have time," said {friend}, and they {started again|made another one}.|They hid it {hide2} until the evening.|They {put a {colour} ribbon on it|put a flower on top}.}',
    '{When {his} {grown} came home|That evening}, {name} {called, "Surprise!"|held out {his} hands and said, "This is for you."} {His} {grown} {could not speak for a moment|had tears of joy in {her} eyes|clapped {her} hands}. "{This is the best present|Nobody has ever made me such a gift|How did you do this}," {she} said.',
    "{They cut it in {three|four} parts and everybody had some.|They shared it with {friend} and ate until nothing was left.} {It was a little {too sweet|flat}, but nobody minded.|It was delicious.}",
]
RESCUE = [
    "{When}, {name} {was walking|was on {his} way home|went to look for {food}} {place} {and heard a {weak|small|sad} cry|when something moved in the grass}. It was a {little|young} {wild}. It had {hurt} and {hurtcannot}.",
    '{"You poor little thing," said {name}.|"Do not be afraid," said {name} softly. "I will not hurt you."} {The {wild} {shook with fear|looked at {him} with dark eyes}.|{He} {sat very still|came close very slowly} until the {wild} was calm.} {{He} took it home in {his} {hat|basket|arms}.|{He} wrapped it in {his} {scarf|coat} and carried it home.}',
    '{"Can we help it?" {name} asked {his} {grown}. "We can try," {said {his} {grown}|{she} said}. {Together they {washed it with warm water|made a bed in a box}.|"But it is a wild animal. When it is well, it must go home."}|{His} {grown} showed {him} what to do.} {Every day {name} gave it {water|food} and {talked to it|sat beside it}.|{Name} got up {early|at night} to feed it.}',
    "{Day by day the {wild} grew {stronger|better}.|{After a week|Soon} the {wild} {ate from {his} hand|was well again}.} {{Friend} the {friendkind} {came to visit and brought {food}|wanted to see it every day}.|It {followed {him} everywhere|slept beside {his} bed}.|}",
    '{Then came the day to say goodbye.|"It is time," said {his} {grown}.} {Name} {opened the door|carried it back {place}}. {He} was sad and {glad|happy} {at the same time|at once}. The {wild} looked back once, and then it {hurtfree}.',
    "{{A few weeks later|In the {season}}, something {knocked at the window|was waiting at the door}. It was the {wild}, and it had brought {a {colour} flower|a nut|its little ones}!|Sometimes {name} saw it {place}, and it always {stopped and looked at {him}|came a little closer}.}",
]
GROW = [
    '{When}, {his} {grown} gave {name} a {small|tiny|little} {seed}. "{Take good care of it|Put it into the earth and wait}," {she} said. {Name} {dug a hole {place}|found a good place in the garden} and {put the {seed} in|covered it with earth}. {He} gave it water and {waited|sat down to watch}.',
    '{The next morning|The next day} {he} {ran out to look|looked}. There was nothing. {The day after, there was still nothing.|{He} waited a whole week. Still nothing!} {"It does not work," said {name}.|"Maybe it is asleep," said {friend} the {friendkind}.|{Name} wanted to dig it up again.} "{Be patient|Good things take time|Wait a little longer}," said {his} {grown}.',
    "{So {name} waited. {He} gave it water when it was dry and {pulled out the weeds|sang to it}.|Every day {name} and {friend} came with {water|a little pot of water}.} {It rained and the sun shone.|The days grew {longer|warm}.|}",
    'Then, {one morning|one day}, {there was|{he} saw} {a tiny green leaf|something green}! "{Look|Come and see}!" {cried|called} {name}. {It grew a little more each day.|{Friend} danced around it.} {{One night a cold wind came, and {name} covered it with {his} {scarf|coat}|A hungry {wild} came to eat it, so {name} built a small fence}.|}',
    '{By {summer|the end of summer|autumn}|When many weeks had gone by}, the {plant} was {tall}. {Everybody in the village came to see it.|Bees came, and birds too.} {"You did this," said {his} {grown}. "You and your patience."|"I only waited," said {name}. "And cared," said {his} {grown}.}',
    "{{Name} kept some seeds for {the next year|{friend}}.|{Name} gave a seed to every child {in the village|who came by}.|}",
]
MAGICAL = [
    '{When}, {name} found {a {colour} {magic}|an old {magic}|a strange {magic}} {hide1}. {An old {wild} sat beside it. "Take it," it said, "but use it well."|{It was warm and shone a little.|It was covered with dust. {Name} cleaned it and it began to shine.}} {It was no common {magic}. {Magictext}.|{Name} soon learned its secret. {Magictext}.}',
    '{"What can I do with it?" {name} asked {friend} the {friendkind}.|{Name} showed it to {friend} the {friendkind}.} {"You could become rich," said {friend}.|"You could be the most famous {kind} in the world," said {friend}.|"We should help somebody," said {friend}.} {{Name} thought about it all night.|{Name} was not sure.}',
    'The next day they met {an old man who had lost his way|a woman who cried {place}|a child who had nothing to eat|a {wild} who was all alone}. {{Name} {wanted to keep the {magic}|did not want to give it away}, but then {he} {looked at the sad face|felt sorry}.|"I think this is for you," said {name}.} {He} {gave the {magic} away|put the {magic} into the stranger\'s hand}.',
    '{"Thank you," said the stranger. "{You have a good heart|Now I am not alone}." |}{And what do you think happened? |Then something strange happened. |}{The next morning a new {magic} lay on the window|A {colour} light went up over the trees|From that day, good luck came to {name} every day}.',
    '{"It seems that kindness comes back," said {friend}.|"I have lost nothing," said {name} and smiled.|{Name} {never looked for riches again|knew now what the {magic} was for}.}',
]
GUIDE = [
    '{When}, {name} {wanted to visit {his} {grown}, who lived on the other side of the {hill|forest|river}|had to bring {food} to {his} {grown}}. "{Stay on the path|Do not stop on the way}," {they told {him}|everybody said}. {"I will," said {name}.|{Name} took {his} {colour} {thing} and went on {his} way.}',
    "{But {place} there were {so many flowers|sweet berries|beautiful {colour} birds}. {Name} {followed|picked} {them|one and then another}, and soon {he} {was far from the path|did not know where {he} was}.|At the big stone the path {divided|ended}. {Name} went left, and that was wrong.}",
    '{It grew dark.|The trees were tall and dark.|The sun went down behind the hill.} {"Is anybody there?" called {name}. {Nobody answered.|Only the wind answered.}|{Name} {sat down|leaned on a tree} and {tried not to cry|was afraid}.} {Then|Suddenly} {a {wild} came out of the {bush|dark}|a voice said, "Hello!" It was a {wild}}.',
    '"{Are you lost|Can I help you|What are you doing here so late}?" {it|the {wild}} asked. "Yes," said {name}. "{I want to go to my {grown}|I cannot find the path}." "{Follow me|I know the way|Come, it is not far}," said the {wild}. "{But what will you give me|Only be quiet, the owl is asleep|Stay close behind me}."',
    "{{Name} gave it {half of the {food}|some {food}}, and they went on.|They {went over a stream and under a fallen tree|walked up the hill and down the other side}.} {The {wild} {knew every stone|could see in the dark}.|The moon came up and showed the way.} {At last|Soon} they saw {a light in a window|the house}.",
    '{His} {grown} {stood at the door|came running}. "There you are! {I was so worried|I was looking for you everywhere}!" {she} said. {Name} told {her} everything. {"You have found a good friend," said {his} {grown}.|They gave the {wild} a {bowl of milk|big piece of bread} and thanked it.}',
    "{The next time {name} {stayed on the path|did not leave the path}{.|, but {he} always left some {food} for the {wild}.}|}",
]
CONTEST = [
    '{{In {season} there was a big race|Every {season} there was a great fair with a race} in the village. Everybody wanted to win.|{When}, {somebody said|they heard}: "There will be a race on {sunday|the first day of {season}}!"} {"I am the fastest," said {friend} the {friendkind}.|{Friend} the {friendkind} laughed. "{Name}, you are too slow!"} {{Name} said nothing, but {he} {practised every day|got up early to run}.|"I will try my best," said {name}.}',
    '{On the day of the race|Then the day came}, {the sun was hot|there were flags and music} {and everybody cheered|and many people came}. "One, two, three, go!" {They all ran.|Off they went!} {Friend} was {soon far in front|the first at the bridge}. {Name} {ran slowly but did not stop|was the last, but {he} did not give up}.',
    '{But then {friend} {fell over a root and hurt {his2} foot|slipped and fell into the stream}.|Near the end, {friend} cried out. {He2} had fallen and could not get up.} {The others ran on.|Nobody else stopped.} {Name} {saw the end so near|could have won}. {But {he} stopped|"Winning can wait," thought {name}, and {he} stopped}.',
    '"{Lean on me|Give me your hand}," said {name}. {Friend} was surprised. "{But you will lose!|Why do you help me?}" "{A friend is better than a prize|You would do the same for me}," said {name}. {Slowly they walked to the end together|So they came in last, side by side}.',
    '{Everybody {clapped louder for them than for the winner|stood up and cheered}.|The winner got a {colour} ribbon. But {name} got {a big cake from the baker|a hug from {friend}|a kiss from {his} {grown}}.} {"I was proud and I was wrong," said {friend}. "You are the fastest heart I know."|"I am sorry I laughed at you," said {friend}.}',
]

PLOTS = [LOST, FRIEND, WEATHERED, BUILD, FEAR, SHARE, GIFT, RESCUE, GROW, MAGICAL, GUIDE, CONTEST]

INNERMOST = re.compile(r"\{([^{}]*)\}")
PRONOUNS = {"he": ("he", "his", "him", "himself"), "she": ("she", "her", "her", "herself")}


def expand(text, facts, rng):
    """Replaces every {...}, innermost first: a choice if it holds '|', else a fact of the story."""

    def one(match):
        body = match.group(1)
        if "|" in body:
            return rng.choice(body.split("|"))
        value = facts[body[0].lower() + body[1:]]
        return value[0].upper() + value[1:] if body[0].isupper() else value

    while True:
        replaced = INNERMOST.sub(one, text, count=1) if INNERMOST.search(text) else None
        if replaced is None:
            return text
        text = replaced


def cast(rng):
    """Draws who and what the story is about."""
    facts = {}
    human = rng.random() < 0.6
    girl = rng.random() < 0.5
    he, his, him, himself = PRONOUNS["she" if girl else "he"]
    if human:
        name = rng.choice(GIRLS if girl else BOYS)
        kind = "girl" if girl else "boy"
    else:
        name = rng.choice(ANIMAL_NAMES)
        kind = rng.choice(ANIMALS)
    friend_girl = rng.random() < 0.5
    he2, his2, him2, _ = PRONOUNS["she" if friend_girl else "he"]
    friend_kind = rng.choice([k for k in ANIMALS if k != kind])
    trait, trait2 = rng.sample(TRAITS, 2)
    grown, she = rng.choice(GROWN_UPS)
    like, liking = rng.choice(LIKES)
    hide1, hide2, hide3 = rng.sample(HIDING, 3)
    colour, thing = rng.choice(COLOURS), rng.choice(TOYS)
    size = rng.choice(["", "", "little ", "young ", "small "])
    facts.update(
        name=name,
        kind=kind,
        he=he,
        his=his,
        him=him,
        himself=himself,
        trait2=trait2,
        grown=grown,
        she=she,
        her={"she": "her", "he": "him"}[she],
        intro=f"a {rng.choice([trait + ' ', size, trait + ' ' + size])}{kind} {rng.choice(['named', 'called'])} {name}",
        home=rng.choice(HOMES if human else BURROWS),
        like=like,
        liking=liking,
        place=rng.choice(PLACES),
        hide1=hide1,
        hide2=hide2,
        hide3=hide3,
        colour=colour,
        toy=thing,
        thing=thing,
        friend=rng.choice([n for n in ANIMAL_NAMES if n != name]),
        friendkind=friend_kind,
        he2=he2,
        his2=his2,
        him2=him2,
        wild=rng.choice([w for w in WILD if w not in (kind, friend_kind)]),
        food=rng.choice(FOODS),
        treat=rng.choice(TREATS),
        season=rng.choice(SEASONS),
        when=rng.choice(TIMES),
        mentor="{his} {grown}",
        things=rng.choice(["spiders", "loud noises", "the deep forest", "big dogs", "falling"]),
        sunday=rng.choice(["Sunday", "Saturday"]),
    )
    facts["weathername"], facts["weather"], facts["clear"] = rng.choice(WEATHER)
    facts["build"], facts["buildfor"], facts["stuff"], facts["fail"] = rng.choice(BUILDS)
    facts["hurt"], facts["hurtcannot"], facts["hurtfree"] = rng.choice(
        HURTS if facts["wild"] in WINGED else HURTS[1:]
    )
    facts["seed"], facts["plant"], facts["tall"] = rng.choice(SEEDS)
    facts["magic"], facts["magictext"] = rng.choice(MAGIC)
    facts["fear"], facts["feartext"], facts["fearend"], facts["feartip"] = rng.choice(FEARS)
    facts["dream"] = rng.choice(DREAMS)
    return facts


def polish(text):
    """Articles, spaces and capitals that the grammar leaves to the end."""
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r"\b([Aa]) (?=[aeiouAEIOU])", r"\1n ", text)
    text = re.sub(r"([.!?]) ([a-z])", lambda m: f"{m.group(1)} {m.group(2).upper()}", text)
    return text


def introduce_friend(text, facts):
    """Says what the friend is at the first mention: "Dot" becomes "Dot the goat"."""
    return re.sub(
        rf"\b{facts['friend']}\b(?! the )",
        f"{facts['friend']} the {facts['friendkind']}",
        text,
        count=1,
    )


def story(rng):
    """One story, a few short paragraphs joined by newlines."""
    facts = cast(rng)
    plot = rng.choice(PLOTS)
    beats = [expand(beat, facts, rng) for beat in [rng.choice(OPEN)] + plot]
    endings = rng.sample(ENDINGS, rng.choice([1, 1, 2]))
    if rng.random() < 0.3 and any(facts["friend"] in beat for beat in beats):
        endings = [FRIEND_ENDING] + endings[:1]
    beats += [expand(ending, facts, rng) for ending in endings]
    if plot is not FRIEND:
        first = next((i for i, beat in enumerate(beats) if facts["friend"] in beat), None)
        if first is not None and f"{facts['friend']} the " not in beats[first]:
            beats[first] = introduce_friend(beats[first], facts)
    paragraphs, current = [], ""
    for beat in beats:
        current = f"{current} {beat}"
        if len(current) > rng.randint(180, 420):
            paragraphs.append(polish(current))
            current = ""
    if current.strip():
        paragraphs.append(polish(current))
    return "\n".join(paragraphs)


def stories(count, seed):
    """Yields `count` stories; the same seed gives the same stories."""
    rng = random.Random(seed)
    for _ in range(count):
        yield story(rng)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    for text in stories(arguments.count, arguments.seed):
        print(text, end="\n\n")


if __name__ == "__main__":
    main()
