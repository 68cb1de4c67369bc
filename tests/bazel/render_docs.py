#!/usr/bin/env python3
"""Makes the pages of docs/bazel of what Bazel's `starlark_doc_extract` says of the public files.

    render_docs.py PAGES FILE.textproto...

Writes them to the directory PAGES. Fails where something that users see has no docstring, and says all that have none.

A rule, function or repository rule is on the page of its file: what `defs.bzl` has on rules.md, but toolchains; those and what
other files have on setup.md. Providers are on providers.md.
"""

import re
import sys
from pathlib import Path
from typing import Iterator, NamedTuple

import textproto

MADE = "*Made of the docstrings in bazel/; `OCISEED_BLESS=1 tests/bazel/run docs` makes it anew.*"
TYPES = {
    "BOOLEAN": "bool",
    "INT": "int",
    "INT_LIST": "list of ints",
    "LABEL": "label",
    "LABEL_DICT_UNARY": "dict from string to label",
    "LABEL_LIST": "list of labels",
    "LABEL_STRING_DICT": "dict from label to string",
    "OUTPUT": "name of an output",
    "OUTPUT_LIST": "list of names of outputs",
    "STRING": "string",
    "STRING_DICT": "dict from string to string",
    "STRING_LIST": "list of strings",
    "STRING_LIST_DICT": "dict from string to list of strings",
}


class Item(NamedTuple):
    """Something that users see: a rule, provider, function, …"""

    kind: str
    name: str
    page: str
    file: str
    info: dict


def one(message: dict, field: str, default=""):
    values = message.get(field)
    return values[0] if values else default


def doc_of(message: dict) -> str:
    return one(message, "doc_string").strip()


def items_of(module: dict) -> Iterator[Item]:
    file = one(module, "file")
    public = file.rpartition(":")[2]
    page = "rules.md" if public == "defs.bzl" else "setup.md"
    for info in module["rule_info"]:
        name = one(info, "rule_name")
        yield Item("rule", name, "setup.md" if name.endswith("_toolchain") else page, file, info)
    for info in module["macro_info"]:
        yield Item("macro", one(info, "macro_name"), page, file, info)
    for info in module["func_info"]:
        yield Item("function", one(info, "function_name"), page, file, info)
    for info in module["aspect_info"]:
        yield Item("aspect", one(info, "aspect_name"), page, file, info)
    for info in module["provider_info"]:
        yield Item("provider", one(info, "provider_name"), "providers.md", file, info)
    for info in module["repository_rule_info"]:
        yield Item("repository rule", one(info, "rule_name"), "setup.md", file, info)
    for info in module["module_extension_info"]:
        yield Item("module extension", one(info, "extension_name"), "setup.md", file, info)


def undocumented(items: list[Item]) -> Iterator[str]:
    """Yields what has no docstring."""
    for item in items:
        parts = [("", item.info)]
        parts += [(f": attribute `{one(part, 'name')}`", part) for part in item.info["attribute"]]
        parts += [(f": field `{one(part, 'name')}`", part) for part in item.info["field_info"]]
        parts += [(f": parameter `{one(part, 'name')}`", part) for part in item.info["parameter"]]
        for tag in item.info["tag_class"]:
            of_tag = f": tag class `{one(tag, 'tag_name')}`"
            parts.append((of_tag, tag))
            parts += [(f"{of_tag}: attribute `{one(part, 'name')}`", part) for part in tag["attribute"]]
        yield from (f"{item.kind} `{item.name}`{part}" for part, message in parts if not doc_of(message))


class Text:
    """Makes links in docstrings: of items, and of pages below docs/."""

    def __init__(self, items: list[Item]):
        # Extensions are called what the project and the tool are called.
        self.targets = {item.name: f"{item.page}#{item.name}" for item in items if item.kind != "module extension"}
        providers = [item.name for item in items if item.kind == "provider"]
        self.pattern = re.compile(
            r"(?P<code>`[^`]*`)|(?P<link>\[[^\]]*\]\([^)]*\))|\b(?P<page>docs/[\w/-]+\.md)\b|\b(?P<provider>"
            + "|".join(providers or ["$^"])
            + r")\b"
        )

    def links(self, text: str, own: str) -> str:
        def link(match: re.Match) -> str:
            found = match[0]
            name = found.strip("`")
            if match["page"]:
                return f"[{found}](../{found.removeprefix('docs/')})"
            if match["link"] or name == own or name not in self.targets:
                return found
            return f"[`{name}`]({self.targets[name]})"

        # Not in blocks of code, which are every other part.
        parts = re.split(r"(^```.*?^```$)", text, flags=re.DOTALL | re.MULTILINE)
        return "".join(part if number % 2 else self.pattern.sub(link, part) for number, part in enumerate(parts))

    def link_to(self, name: str) -> str:
        return f"[`{name}`]({self.targets[name]})" if name in self.targets else f"`{name}`"


def providers_of(attribute: dict, text: Text) -> str:
    """Says what the targets of an attribute must have."""
    groups = [" and ".join(text.link_to(name) for name in group["provider_name"]) for group in attribute["provider_name_group"]]
    return " or ".join(groups)


def entry(anchor: str, name: str, facts: str, doc: str) -> str:
    lines = [f'- <a id="{anchor}"></a>**`{name}`**' + (f" ({facts})" if facts else ""), "", doc]
    return "\n".join(lines).replace("\n", "\n  ").replace("\n  \n", "\n\n")


def attributes(message: dict, anchor: str, text: Text) -> Iterator[str]:
    for attribute in message["attribute"]:
        name, kind = one(attribute, "name"), one(attribute, "type")
        if kind == "NAME":
            # Every target has it, and Bazel says the same of it everywhere.
            continue
        facts = TYPES.get(kind, kind.lower().replace("_", " "))
        wanted = providers_of(attribute, text)
        if wanted:
            facts += " with " + wanted
        facts += "; mandatory" if one(attribute, "mandatory", False) else f"; default `{one(attribute, 'default_value')}`"
        yield entry(f"{anchor}-{name}", name, facts, text.links(doc_of(attribute), anchor))


def parameters(message: dict, anchor: str, text: Text) -> Iterator[str]:
    for parameter in message["parameter"]:
        default = one(parameter, "default_value")
        facts = f"default `{default}`" if default else "mandatory" if one(parameter, "mandatory", False) else ""
        yield entry(f"{anchor}-{one(parameter, 'name')}", one(parameter, "name"), facts, text.links(doc_of(parameter), anchor))


def fields(message: dict, anchor: str, text: Text) -> Iterator[str]:
    for field in message["field_info"]:
        yield entry(f"{anchor}-{one(field, 'name')}", one(field, "name"), "", text.links(doc_of(field), anchor))


def tag_classes(item: Item, text: Text) -> Iterator[str]:
    for tag in item.info["tag_class"]:
        name = one(tag, "tag_name")
        anchor = f"{item.name}.{name}"
        yield f'<a id="{anchor}"></a>\n### {item.name}.{name}'
        yield text.links(doc_of(tag), anchor)
        yield from attributes(tag, anchor, text)


def section(item: Item, text: Text) -> Iterator[str]:
    yield f'<a id="{item.name}"></a>\n## {item.name}'
    if item.page == "setup.md":
        yield f"{item.kind.capitalize()} of `@ociseed{item.file}`."
    yield text.links(doc_of(item.info), item.name)
    names = [name for group in item.info["advertised_providers"] for name in group["provider_name"]]
    if names:
        yield "Gives " + " and ".join(text.link_to(name) for name in names) + "."
    yield from attributes(item.info, item.name, text)
    yield from parameters(item.info, item.name, text)
    yield from fields(item.info, item.name, text)
    for returned in item.info["return"]:
        yield "Returns: " + text.links(doc_of(returned), item.name)
    yield from tag_classes(item, text)


HEADS = {
    "rules.md": (
        "Rules",
        """All are loaded from `@ociseed//bazel:defs.bzl`. Each has `name` and
[what every rule has](https://bazel.build/reference/be/common-definitions) too. The [guide](guide.md) shows how they go together.""",
    ),
    "providers.md": (
        "Providers",
        """What rules hand on to each other; for rules of your own that take or make the same. They are loaded from
`@ociseed//bazel:defs.bzl`.""",
    ),
    "setup.md": (
        "Set-up",
        """How a workspace gets the tool. The [guide](guide.md#set-up) has the lines to copy.""",
    ),
}


def page(name: str, items: list[Item], text: Text) -> str:
    title, head = HEADS[name]
    own = [item for item in items if item.page == name]
    contents = " · ".join(f"[`{item.name}`](#{item.name})" for item in own)
    parts = [f"# {title}", MADE, head, contents]
    for item in own:
        parts += section(item, text)
    return "\n\n".join(parts) + "\n"


def first_sentence(doc: str) -> str:
    paragraph = " ".join(doc.partition("\n\n")[0].split())
    return re.split(r"(?<=[.])\s(?=[A-Z`])", paragraph)[0]


def index(items: list[Item], text: Text) -> str:
    parts = [
        "# Bazel rules",
        MADE,
        "- [Guide](guide.md): set-up, first image, several platforms, seeds and disks, caches, and how to come from other rules.\n"
        "- [Rules](rules.md), [providers](providers.md) and [set-up](setup.md): all that there is, with every attribute.",
    ]
    for name, (title, _) in HEADS.items():
        rows = [f"| | {title.lower()} |", "|---|---|"]
        rows += [
            f"| [`{item.name}`]({name}#{item.name}) | {first_sentence(doc_of(item.info))} |" for item in items if item.page == name
        ]
        parts.append("\n".join(rows))
    return "\n\n".join(parts) + "\n"


def main() -> None:
    pages, *files = map(Path, sys.argv[1:])
    items = [item for file in files for item in items_of(textproto.parse(file.read_text(encoding="utf-8")))]
    missing = list(undocumented(items))
    for what in missing:
        print(f"error: {what} has no docstring")
    if missing:
        sys.exit(1)
    text = Text(items)
    written = {name: page(name, items, text) for name in HEADS} | {"README.md": index(items, text)}
    for name, content in written.items():
        (pages / name).write_text(content, encoding="utf-8")


main()
