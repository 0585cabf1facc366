"""What LaTeX would complain of, found without it; where there is a pdflatex, it compiles the file."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

KNOWN = {  # the commands that the body of a report uses
    "begin", "end", "section", "subsection", "maketitle", "caption", "label", "centering", "small", "footnotesize", "scriptsize", "tiny", "ttfamily", "raggedright",
    "arraybackslash", "par", "item", "includegraphics", "linewidth", "textheight", "toprule", "midrule", "bottomrule", "endhead", "endfoot", "texttt",
    "textit", "textbf", "textbackslash", "textasciitilde", "textasciicircum", "textasciigrave", "textless", "textgreater", "textbar", "textquotedbl",
    "textquotesingle", "textquoteleft", "textquoteright", "textendash", "textemdash", "ensuremath", "pm", "times", "alpha", "rho", "mu", "le", "ge",
    "rightarrow", "ldots", "textsuperscript", "textsubscript", "otherletter",
}  # fmt: skip
NAMES = re.compile(r"\\(?:label|includegraphics|begin|end)(?:\[[^\]]*\])?\{[^}]*\}")


def check_latex(file: Path) -> None:
    """Check environments, braces, pictures, commands, letters and the cells of tables; compile the file where there is a pdflatex."""
    preamble, body = file.read_text(encoding="utf-8").split("\\begin{document}")
    body = body.removesuffix("\\end{document}\n")
    assert "\\usepackage{booktabs}" in preamble and "[utf8]{inputenc}" in preamble
    open_ones = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", body):
        assert kind == "begin" or open_ones.pop() == name
        open_ones += [name] if kind == "begin" else []
    assert not open_ones
    plain = re.sub(r"\\[\\_%&#{}$]", " ", body)
    depth = [plain[:i].count("{") - plain[:i].count("}") for i in range(0, len(plain), 200)]
    assert min(depth) >= 0 and plain.count("{") == plain.count("}")
    for name in re.findall(r"\\includegraphics\[[^\]]*\]\{([^}]*)\}", body):
        assert (file.parent / name).is_file() and re.fullmatch(r"figures/[a-z0-9.-]+\.(pdf|png)", name)
    labels = re.findall(r"\\label\{([^}]*)\}", body)
    assert len(labels) == len(set(labels)) and all(re.fullmatch(r"(tab|fig):[a-z0-9.-]+", label) for label in labels)
    assert set(re.findall(r"\\([a-zA-Z]+)", re.sub(r"\\\\", " ", body))) <= KNOWN
    assert all((char.isascii() and (char.isprintable() or char == "\n")) or "\u00a1" <= char <= "\u00ff" for char in body)
    text = NAMES.sub("", plain)
    assert not re.search(r"[$^#%\"`]|(?<!\{)_", text)
    for table in re.findall(r"\\begin\{(?:tabular|longtable)\}(.*?)\\end\{(?:tabular|longtable)\}", body, re.DOTALL):
        columns = len(re.findall(r"[lr]|p(?=\{)", re.sub(r">\{[^}]*\}", "", table.splitlines()[0].replace("cm}", "}"))))
        rows = [line for line in table.splitlines()[1:] if line.endswith(" \\\\")]
        assert rows and all(len(re.findall(r"(?<!\\)&", row)) == columns - 1 for row in rows)
    if program := shutil.which("pdflatex"):
        command = [program, "-interaction=nonstopmode", "-halt-on-error", f"-output-directory={file.parent}", file.name]
        done = subprocess.run(command, cwd=file.parent, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout[-2000:]
