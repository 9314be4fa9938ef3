"""The mutants: single faults that rules, or the list written.txt, put into the library's sources."""
import hashlib
import re
from dataclasses import dataclass

# ---- rules ----

# (name, pattern, what takes its place). The layout of the sources, which a test holds, tells a product ("a * b") from a
# pointer ("T *a"). A pattern sees code only: comments and what stands between quotation marks are blanks to it.
SWAPS = [
    ("sign", [(" + ", " - "), (" - ", " + ")]),
    ("product", [(" * ", " / "), (" / ", " * "), (" % ", " / ")]),
    ("bound", [(" < ", " <= "), (" <= ", " < "), (" > ", " >= "), (" >= ", " > ")]),
    ("equal", [(" == ", " != "), (" != ", " == ")]),
    ("logic", [(" && ", " || "), (" || ", " && ")]),
    ("accumulate", [(" += ", " = "), (" -= ", " += "), (" *= ", " = "), (" |= ", " = ")]),
    ("shift", [(" << ", " >> "), (" >> ", " << ")]),
]
WORDS = [
    ("truth", [("true", "false"), ("false", "true")]),
    ("geometry", [("stride", "dilation"), ("dilation", "stride"), ("down", "along"), ("along", "down"), ("rows", "cols"),
                  ("cols", "rows"), ("before", "after"), ("after", "before"), ("top", "bottom"), ("left", "right")]),
    ("blas", [("CblasTrans", "CblasNoTrans"), ("CblasNoTrans", "CblasTrans"), ("lda", "ldb"), ("ldb", "lda")]),
    ("extreme", [("least", "most"), ("most", "least"), ("fmin", "fmax"), ("fmax", "fmin"), ("floor", "ceil"), ("ceil", "floor")]),
    ("calculus", [("pleat_mul", "pleat_div"), ("pleat_div", "pleat_mul"), ("pleat_add", "pleat_sub"), ("pleat_sub", "pleat_add"),
                  ("pleat_exp", "pleat_log"), ("sqrt", "cbrt"), ("exp", "expm1"), ("log", "log1p"), ("cos", "sin"),
                  ("sin", "cos"), ("tanh", "sinh")]),
    ("type", [("PLEAT_F32", "PLEAT_F64"), ("PLEAT_F64", "PLEAT_F32")]),
    ("loop", [("continue", "break"), ("break", "continue")]),
]
PATTERNS = [
    ("plus one", r" [+-] 1\b(?![.e])", ""),
    ("first", r"(?<=for \()(.* = )0;", r"\g<1>1;"),
    ("index", r"\[0\]", "[1]"),
    ("index", r"\[1\]", "[0]"),
    ("field", r"(->|\.)(H|P|R)\b", lambda m: m[1] + {"H": "W", "P": "Q", "R": "S"}[m[2]]),
    ("field", r"(->|\.)(W|Q|S)\b", lambda m: m[1] + {"W": "H", "Q": "P", "S": "R"}[m[2]]),
    ("field", r"(->|\.)(C|O)\b", lambda m: m[1] + {"C": "O", "O": "C"}[m[2]]),
    ("pad", r"\b\w+(->|\.)pads?\[[^\]]+\](?! = )", "0"),
    ("negation", r"!(?=[\w(])", ""),
    ("negative", r"(?<=[(,=?:] )-(?=[a-z(])|(?<=\()-(?=[a-z(])|(?<=return )-(?=[a-z(])", ""),
    ("negative", r"\bpleat_neg\(", "("),
    ("number", r"\b(\d+\.\d+)\b(?!\.)", lambda m: f"(1.01 * {m[1]})"),
    ("type", r"(?<=\()float\b(?=\))", "double"),
    ("arguments", r"(?<!format)(?<!_JOIN)(\()([a-z][\w.>\[\]-]*), ([a-z][\w.>\[\]-]*)(?=[,)])", r"\1\3, \2"),
    ("choice", r" \? (.{1,40}) : ([^:?,;]{1,40})(?=;)", r" ? \2 : \1"),
    ("condition", r"\b(if|while) \((.*)\)(?= \w|$| \{)", r"\1 (!(\2))"),
    ("guard", r"^( +)if \(.*\) (return|continue|break)\b.*;$", r"\1;"),
    ("call", r"^( +)(?!return|else|if|for|while|do\b|typedef)[a-zA-Z_][\w.>-]*\(.*\);$", r"\1;"),
    ("assignment", r"^( +)[\w.>*\[\]-]+ [-+*|]?= [^;]*;$", r"\1;"),
    ("result", r"^( +return )[^;]*[\w)] [-+*/] [\w(][^;]*;$", r"\g<1>0;"),
]


def compile_rules():
    rules = []
    for name, pairs in SWAPS:
        rules += [(name, re.compile(re.escape(old)), lambda m, new=new: new) for old, new in pairs]
    for name, pairs in WORDS:
        rules += [(name, re.compile(rf"\b{old}\b"), lambda m, new=new: new) for old, new in pairs]
    for name, pattern, new in PATTERNS:
        rules.append((name, re.compile(pattern), new if callable(new) else lambda m, new=new: m.expand(new)))
    return rules


RULES = compile_rules()

# ---- what no rule touches ----

# Cuts of the work, what they are thought to cost, and what memory is asked for ahead. Whatever they say, results stay right, and
# how fast they come is measured and not tested; that memory stays within bounds, test_kernels holds for those in use.
TUNING = {
    "ops/kernels/conv/implicit_gemm.c": "even_strip prefetch_of prefetch_channel",
    "ops/kernels/conv/implicit_gemm_pack.inc": "rows_held",
    "ops/kernels/conv/implicit_gemm_product.inc": """rows_at_once count_bytes room_for_columns cut_tasks draft_product cost_of
                                                     choose_product""",
    "ops/kernels/conv/implicit_gemm_weight.inc": "cut_chunks draft_weight",
    "ops/kernels/conv/direct.c": "cut_tasks takes_channels",
    "ops/kernels/conv/im2col_gemm.c": "even_parts draft",
    "ops/kernels/gemm/simd_gemm.c": "by_dots_pays make_plan",
    "ops/kernels/gemm/gemm.c": "beats_blas",
    "ops/kernels/gemm/blas.c": "openblas_would_malloc",
    "ops/kernels/parallel.c": "pause_briefly await_job wake_all",
    "ops/matmul.c": "cut macs",
}
# Drawings: where things stand is looked at (outer/report.sh), and what they show is read by test_report.
LOOKS = re.compile(r"nn/report/(style|page|frame)\.c$")
# Leaks are the sanitizers' affair, who see them in the same tests: tests/run.sh --sanitize.
FREEING = re.compile(r"^ +(free|fclose|pl_give|pl_release|pthread_\w+_destroy|\w+_free|\w+_close|\w+_end|\w+_discard)\(.*\);$")
# What the work is thought to cost, behind the context.
COST = re.compile(r"(?<=\bpl_pool_for\()(?:[^()]|\((?:[^()]|\([^()]*\))*\))*(?=\))")

# Where memory is asked for ahead, and how far.
AHEAD = re.compile(r"\bprefetch_(channel|of)\(|\b(p|next)\.channels\b")


def excluded(file, function, line, in_enum):
    """The reason why no rule touches the line, or None."""
    if function in TUNING.get(file, "").split() or AHEAD.search(line):
        return "cuts and costs: speed, not results"
    if in_enum:
        return "constants of tuning, layout or meaning: no single number is right"
    if LOOKS.search(file):
        return "looks"
    if FREEING.match(line):
        return "leaks are found by the sanitizers"
    if re.search(r"\bassert\(|^ *#(?! *define (EXPR|[A-Z]+\())", line):
        return "the preprocessor's, or a check of the build"
    return None


# ---- sources ----

@dataclass(frozen=True)
class Mutant:
    file: str
    number: int  # of the line, from 1
    rule: str
    old: str  # the line
    new: str
    nth: int = 0  # of the lines with this text

    @property
    def key(self):
        return f"{self.file}|{self.old.strip()}|{self.new.strip()}|{self.nth}"

    @property
    def id(self):
        return hashlib.sha256(self.key.encode()).hexdigest()[:7]

    def __str__(self):
        return f"{self.id}  {self.file}:{self.number}  {self.rule}  {brief(self.old, self.new)}"


def brief(old, new):
    """The changed line with the change in it: what stood there before, and what stands there now."""
    old, new = old.strip(), new.strip()
    if new == ";":
        return f"{{{old} -> ;}}"
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    return f"{old[:start]}{{{old[start:len(old) - end]} -> {new[start:len(new) - end]}}}{old[len(old) - end:]}"


def blank(text):
    """The text with comments and the insides of quotation marks as blanks of the same length."""
    def blanks(m):
        word = m[0]
        if word[0] in "\"'":
            return word[0] + "_" * (len(word) - 2) + word[-1]
        return re.sub(r"[^\n]", " ", word)
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blanks, text, flags=re.S)


def lines_of(text):
    """(number, line, its code, its function, whether it is within an enum) for each line."""
    function, in_enum, opening = "", False, ""
    for number, (line, code) in enumerate(zip(text.split("\n"), blank(text).split("\n")), 1):
        if re.match(r"\}", code):
            function = opening = ""
        elif re.match(r"[a-zA-Z_].*", code) and not code.startswith(("typedef", "enum")) or opening:
            opening += code.strip() + " "
            if re.search(r"\{$|;$|\}$", code.rstrip()):
                words = re.findall(r"(\w+)\)? ?\((?!NAME)", re.sub(r"__attribute__\(\(.*?\)\)+", "", opening))
                function = words[0] if words and "= {" not in opening and not opening.endswith("; ") else ""
                opening = ""
        in_enum = in_enum or code.lstrip().startswith("enum ") and "{" in code
        yield number, line, code.rstrip(), function, in_enum
        if in_enum and "}" in code:
            in_enum = False


def mutate(line, code, pattern, new):
    """The line with the rule applied at each place of its code."""
    code = COST.sub(lambda m: "_" * len(m[0]), code)
    for m in pattern.finditer(code):
        # groups are filled from the line, where the insides of quotation marks are what they are
        m = next((n for n in [pattern.search(line, m.start())] if n and n.start() == m.start()), m)
        changed = line[:m.start()] + new(m) + line[m.end():]
        if changed != line:
            yield changed


def mutants_of(file, text, drop=lambda *why: None):
    """All mutants of one source; `drop` is told what was left out, and why."""
    header = file.endswith(".h")
    seen = {}
    for number, line, code, function, in_enum in lines_of(text):
        nth = seen[line.strip()] = seen.get(line.strip(), -1) + 1
        if not code.strip() or header and not function:
            continue
        why = excluded(file, function, line, in_enum)
        for name, pattern, new in RULES:
            for changed in mutate(line, code, pattern, new):
                if why:
                    drop(file, number, why)
                else:
                    yield Mutant(file, number, name, line, changed, nth)


# ---- the sample ----

def order(seed, mutant):
    return hashlib.sha256(f"{seed}|{mutant.key}".encode()).digest()


def sample(candidates, count, seed):
    """`count` of the candidates: the same ones as long as the seed and their lines stay the same. Each file has one at least, and
    one more for so many candidates that the count comes out; no rule comes twice in a file before all have come once."""
    files = {}
    for m in sorted(candidates, key=lambda m: order(seed, m)):
        files.setdefault(m.file, []).append(m)
    shares = {f: len(ms) ** 0.5 for f, ms in files.items()}
    unit = sum(shares.values()) / max(count, 1)
    chosen = []
    for file, ms in sorted(files.items()):
        turn = {}
        rounds = []
        for m in ms:
            turn[m.rule] = turn.get(m.rule, 0) + 1
            rounds.append((turn[m.rule], len(rounds)))
        picks = [ms[i] for _, i in sorted(rounds)]
        chosen += picks[:max(1, round(shares[file] / unit))]
    return chosen


# ---- lists ----

def read_list(path):
    """Entries of a list of mutants: a line with a file, "- " the line as it is, "+ " as it becomes, "= " why."""
    entries, file, old, new = [], None, None, None
    for number, line in enumerate(path.read_text().split("\n"), 1):
        mark, rest = line[:2], line[2:].strip()
        if not line.strip() or line.startswith("#"):
            continue
        if mark == "- ":
            old = rest
        elif mark == "+ ":
            new = rest
        elif mark == "= " and file and old and new is not None:
            entries.append((file, old, new, rest, number))
            old = new = None
        elif re.fullmatch(r"\S+\.(c|h|inc)", line):
            file = line
        else:
            raise SystemExit(f"{path}:{number}: expected a file, or \"- \", \"+ \" and \"= \" in this order: {line}")
    return entries


def written(path, texts):
    """The mutants of a list. One whose line is not there any more is an error: it would test nothing."""
    found, wrong = [], []
    for file, old, new, _, number in read_list(path):
        lines = texts.get(file, "").split("\n")
        at = [i for i, line in enumerate(lines) if line.strip() == old]
        if not at:
            wrong.append(f"{path}:{number}: no line of {file} is \"{old}\"; write what became of it, or take the entry out")
            continue
        line = lines[at[0]]
        indent = line[:len(line) - len(line.lstrip())]
        found.append(Mutant(file, at[0] + 1, "written", line, indent + new))
    return found, wrong
