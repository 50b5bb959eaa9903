"""Words and templates of the sentence grammars. Mandarin is written in pinyin with tone digits."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(","))


_ENGLISH_TEMPLATES = (
    "the {adj} {person} {verb} the {adj} {thing} {place}.",
    "{time}, my {person} {verb} a {thing} and {verb} the {person}.",
    "I {feel} that the {person} {verb} {number} {adj} {things} {place}.",
    "why do {number} {things} {move} {place}?",
    "would you {do} the {adj} {thing}, or {do} it {time}?",
    "{number} {things} and a {thing} {move} {place} {time}.",
    "we {feel} the {thing} is {adj}, but the {person} is {adj}.",
    "please {do} the {thing} {place} before the {person} comes home.",
    "{time} the {person} of {name} {verb} our {adj} {thing}.",
    "{name} and {name} {move} {place}, because the {thing} looks {adj}.",
    "oh, what a {adj} {thing}! The {person} {verb} it {time}.",
    "nobody {place} would {do} such a {adj} {thing}.",
    "{name} asked how the {adj} {person} could {do} {number} {things}.",
    "if the {things} {move} {place}, {name} will {do} the {thing}.",
)
_ENGLISH_SLOTS = {
    "adj": _words(
        "quiet, purple, enormous, warm, clever, broken, shiny, yellow, famous, lazy, "
        "heavy, modern, wooden, bright, foggy, smooth, brave, curious, gentle, hollow, "
        "silver, funny, early, ugly, cheap, thick, rough, beautiful, very old, quite "
        "small"
    ),
    "person": _words(
        "mother, farmer, pilot, doctor, teacher, neighbour, painter, young woman, boy, "
        "fisherman, baker, judge, visitor, uncle, poet, vet, shopkeeper, mayor, "
        "photographer, engineer, father, thief, chef, waitress"
    ),
    "verb": _words(
        "found, brought, showed, painted, followed, watched, moved, forgot, opened, "
        "fixed, sold, borrowed, admired, wanted, built, chose, measured, welcomed, "
        "bought, dropped, pushed, loved, hid"
    ),
    "thing": _words(
        "boat, piano, letter, garden, violin, window, camera, bowl of soup, mountain, "
        "photograph, machine, bicycle, pumpkin, river, umbrella, story, birthday cake, "
        "telephone, moon, chair, map, fish, movie, picture, whistle, jewel"
    ),
    "things": _words(
        "birds, wolves, questions, apples, flowers, ships, horses, voices, bubbles, "
        "chairs, buses, foxes, shadows, mushrooms, children, puppets, waves, bees, "
        "feathers, oranges"
    ),
    "place": _words(
        "by the sea, above the village, in the old town, on the roof, near the bridge, "
        "under the tree, behind the house, at the airport, in the valley, beside the "
        "fire, across the road, in my room, around the corner, over the bay"
    ),
    "time": _words(
        "yesterday, this morning, on Monday, in the evening, last summer, every Friday, "
        "after lunch, at half past four, next year, before noon, in winter, once a week"
    ),
    "feel": _words("think, believe, hope, know, hear, feel, suppose, imagine, remember"),
    "number": _words(
        "two, three, four, five, seven, eight, nine, twelve, forty, a few, some, many"
    ),
    "do": _words(
        "move, paint, open, bring, show, watch, find, choose, buy, follow, fix, push, save"
    ),
    "move": _words("move, float, fall, sleep, wait, dance, wander, grow, vanish, meet, play, jump"),
    "name": _words("Anna, Oliver, Sophia, Ben, Maya, Victor, Emma, Hugo, Phoebe, Paul, Ruth, Joe"),
}

_MANDARIN_TEMPLATES = (
    "{who} {when} {where} {verb} {thing}.",
    "{when} {who} hen3 {adj}, {who} ye3 hen3 {adj}.",
    "{who} xiang3 {verb} {thing}, ke3shi4 {who} bu4 xiang3.",
    "qing3 wen4, {who} {when} {verb} {thing} ma5?",
    "{thing} {where} hen3 {adj}.",
    "{who} he2 {who} {when} yi4qi3 {verb} {thing}.",
)
_MANDARIN_SLOTS = {
    "who": _words(
        "wo3, ni3, ta1, wo3men5, ni3men5, ta1men5, lao3shi1, wo3 ma1ma5, wo3 ba4ba5, "
        "peng2you5, yi1sheng1, xiao3 wang2, xiao3 ma3"
    ),
    "when": _words("jin1tian1, ming2tian1, zuo2tian1, zao3shang5, wan3shang5, xia4wu3, xian4zai4"),
    "where": _words(
        "zai4 bei3jing1, zai4 jia1 li3, zai4 xue2xiao4, zai4 gong1yuan2, zai4 hai3bian1, "
        "zai4 huo3che1 shang4, zai4 shang1dian4"
    ),
    "verb": _words("mai3, kan4, zhao3, hua4, yong4, mai4, song4, da3kai1, xi3huan5, bao4"),
    "thing": _words(
        "shu1, dian4ying3, ping2guo3, mao1, hua1, pu2tao2, fang2zi5, bei1zi5, mao4zi5, "
        "dian4hua4, mian4bao1, yu2, huo3che1 piao4"
    ),
    "adj": _words("hao3, piao4liang5, da4, xiao3, gao1xing4, mang2, gui4, lao3, bang4, fang1bian4"),
}

_GERMAN_TEMPLATES = (
    "{when} {verb} {who} {thing} {where}.",
    "{who} {verb} {thing}, aber {who} {verb} {thing}.",
    "ich glaube, {who} und {who} sind {where}.",
    "warum {verb} {who} {when} {thing}?",
)
_GERMAN_SLOTS = {
    "when": _words(
        "heute, gestern, am Abend, im Sommer, jeden Morgen, nach dem Essen, um vier Uhr"
    ),
    "who": _words(
        "meine Mutter, der Bäcker, unser Freund, die Ärztin, mein Bruder, das Mädchen, "
        "der Fischer, die Königin, ein Vogel"
    ),
    "verb": _words("kauft, malt, findet, bringt, öffnet, verkauft, sucht, baut, hört, vergisst"),
    "thing": _words(
        "ein Boot, das Buch, viele Bücher, schöne Blumen, das Fenster, einen Apfel, fünf "
        "Vögel, die Musik, den Mond, ein Haus"
    ),
    "where": _words(
        "am Meer, im Wald, über der Brücke, auf dem Dach, im Dorf, vor der Tür, zu Hause"
    ),
}

_SPANISH_TEMPLATES = (
    "{when} {who} {verb} {thing} {where}.",
    "{who} {verb} {thing}, pero {who} {verb} {thing}.",
    "creo que {who} y {who} viven {where}.",
    "¿por qué {verb} {who} {thing} {when}?",
)
_SPANISH_SLOTS = {
    "when": _words("hoy, ayer, por la mañana, en verano, cada viernes, después de comer, ahora"),
    "who": _words(
        "mi madre, el panadero, nuestro amigo, la doctora, mi hermano, la niña, el poeta, "
        "un viejo pescador, el jefe"
    ),
    "verb": _words("compra, pinta, busca, mueve, abre, vende, olvida, mira, muestra, quiere"),
    "thing": _words(
        "un barco, el libro, muchas flores, la ventana, una manzana, cinco pájaros, la "
        "música, la luna, una casa, el piano, un paraguas"
    ),
    "where": _words(
        "en la playa, en el bosque, sobre el puente, cerca del río, en mi pueblo, en casa"
    ),
}

_FRENCH_TEMPLATES = (
    "{when}, {who} {verb} {thing} {where}.",
    "{who} {verb} {thing}, mais {who} {verb} {thing}.",
    "je pense que {who} et {who} habitent {where}.",
    "pourquoi est-ce que {who} {verb} {thing} {when}?",
)
_FRENCH_SLOTS = {
    "when": _words("aujourd'hui, hier, le matin, en été, chaque vendredi, après le repas, ce soir"),
    "who": _words(
        "ma mère, le boulanger, notre ami, la voisine, mon frère, la petite fille, le "
        "poète, un vieux pêcheur, le roi"
    ),
    "verb": _words("cherche, peint, trouve, apporte, ouvre, vend, oublie, regarde, montre, veut"),
    "thing": _words(
        "un bateau, le livre, beaucoup de fleurs, la fenêtre, une pomme, cinq oiseaux, la "
        "musique, la lune, une maison, le piano"
    ),
    "where": _words(
        "à la plage, dans la forêt, sur le pont, près du fleuve, au village, à la maison"
    ),
}

GRAMMARS: dict[str, tuple[tuple[str, ...], dict[str, tuple[str, ...]]]] = {
    "en": (_ENGLISH_TEMPLATES, _ENGLISH_SLOTS),
    "zh": (_MANDARIN_TEMPLATES, _MANDARIN_SLOTS),
    "de": (_GERMAN_TEMPLATES, _GERMAN_SLOTS),
    "es": (_SPANISH_TEMPLATES, _SPANISH_SLOTS),
    "fr": (_FRENCH_TEMPLATES, _FRENCH_SLOTS),
}
