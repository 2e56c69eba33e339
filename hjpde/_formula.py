"""Formulas in TeX's notation as HTML: letters, signs, indices and fractions in one line, as reports need them."""

import html
import re
import unicodedata

_SIGNS = {
    "partial": "∂", "nabla": "∇", "sum": "∑", "int": "∫", "infty": "∞", "cdot": "·", "times": "×", "pm": "±", "le": "≤",
    "ge": "≥", "ne": "≠", "approx": "≈", "to": "→", "mapsto": "↦", "in": "∈", "langle": "⟨", "rangle": "⟩",
    "ldots": "…", "dots": "…", "propto": "∝", "ell": "ℓ", "top": "⊤", "circ": "∘", "lVert": "‖", "rVert": "‖", "|": "‖",
    "{": "{", "}": "}", ",": "\u2009", ";": "\u2005", "quad": "\u2003", "!": "", "left": "", "right": "", "bigl": "",
    "bigr": "", "Bigl": "", "Bigr": "", "varepsilon": "ε", "varphi": "φ",
}  # fmt: skip
_ACCENTS = {"dot": "\u0307", "ddot": "\u0308", "hat": "\u0302", "bar": "\u0304", "tilde": "\u0303"}
_UPRIGHT = ("mathrm", "mathbb", "mathbf", "mathcal", "operatorname", "text")
_UPRIGHT_TAG = "<span style='font-style:normal'>"


def formula(tex: str) -> str:
    r"""The formula in italics, names of functions upright; a command that is not known stays as it is.

    **Arguments:** `tex`: without dollars, as `\frac{q_0}{1 - q_0}`, which becomes $q_0/(1 - q_0)$.
    """
    tokens = re.findall(r"\\[a-zA-Z]+|\\.|.", tex, re.DOTALL)
    return f"<i>{_sequence(tokens[::-1])}</i>"


def _sequence(tokens: list[str]) -> str:
    """All up to the brace that closes, or to the end; the next token is the last."""
    parts = []
    while tokens and (token := tokens.pop()) != "}":
        if token in ("^", "_"):
            tag = "sup" if token == "^" else "sub"
            parts.append(f"<{tag}>{_argument(tokens)}</{tag}>")
        else:
            piece = _one(token, tokens)
            # Functions, as log, stand off from a letter or number before them.
            close = piece.startswith(_UPRIGHT_TAG) and parts and (parts[-1][-1:].isalnum() or parts[-1].endswith(">"))
            parts.append("\u2009" + piece if close else piece)
    return "".join(parts)


def _argument(tokens: list[str]) -> str:
    while tokens and tokens[-1] == " ":
        tokens.pop()
    return _one(tokens.pop(), tokens) if tokens else ""


def _one(token: str, tokens: list[str]) -> str:
    if token == "{":
        return _sequence(tokens)
    if not token.startswith("\\"):
        return html.escape(token.replace("-", "−").replace("'", "′"))
    name = token[1:]
    if name in _SIGNS:
        return _SIGNS[name]
    if name == "frac":
        return f"{_closed(_argument(tokens))}/{_closed(_argument(tokens))}"
    if name == "sqrt":
        return f"√{_closed(_argument(tokens))}"
    if name in _ACCENTS:
        return _argument(tokens) + _ACCENTS[name]
    if name in _UPRIGHT:
        return _upright(_argument(tokens))
    greek = f"GREEK {'CAPITAL' if name[:1].isupper() else 'SMALL'} LETTER {name.replace('lambda', 'lamda').upper()}"
    try:
        return unicodedata.lookup(greek)
    except KeyError:
        gap = "" if not tokens or tokens[-1] in "()[]{}^_| ,." else "\u2009"
        return _upright(name) + gap if name.islower() else html.escape(token)


def _upright(words: str) -> str:
    return f"{_UPRIGHT_TAG}{words}</span>"


def _closed(words: str) -> str:
    """In parentheses, if it is more than a number or a letter."""
    shown = html.unescape(re.sub(r"<su[bp]>.*?</su[bp]>|<[^>]*>", "", words))
    return words if re.fullmatch(r"\w*′*", shown) else f"({words})"
