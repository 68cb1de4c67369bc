"""The one way in which rules run the tool.

A step gets its parameters, which depend on attributes alone, beside the paths of its inputs: so they stay the same when output paths
change (configurations, path mapping), and paths are never part of a digest. They are no file of their own, which would be an action
more for each step.
"""

load(":toolchain.bzl", "TOOLCHAIN")

def named(kind, files):
    """Gives files names by which parameters speak of them.

    Args:
      kind: word that the names begin with.
      files: list of File.

    Returns:
      A list of struct with `name` and `file`.
    """
    return [struct(name = "%s-%d" % (kind, number), file = file) for number, file in enumerate(files)]

def listed(name, parts, inputs):
    """Makes a directory of files, each of which is given to the tool by itself.

    Sandboxes lay the files of a directory out as links to somewhere else, so the tool could not tell them from links that belong
    to the directory.

    Args:
      name: by which parameters speak of the directory.
      parts: list of pairs: a depset, and a function from what is in it to a path in the directory and a File. What is in a depset
        are Files, of which directories are expanded, or structs that hold one.
      inputs: depset of the Files.

    Returns:
      A struct with these fields.
    """
    return struct(name = name, parts = parts, inputs = inputs)

def in_tree(file):
    """For `listed`: the path of a file in the directory that an action made."""
    return file.tree_relative_path, file

def below(prefix):
    """For `listed`: what makes the path of a file of what its short path has behind a prefix.

    Args:
      prefix: the beginning of the files' short paths.
    """
    return lambda file: (file.short_path[len(prefix):], file)

# What Bazel may do with a step (docs/format.md, "Worker"). One process does the steps of all mnemonics: what it keeps in memory has one
# bound, and starts are few.
_EXECUTION_REQUIREMENTS = {
    "requires-worker-protocol": "proto",
    "supports-multiplex-sandboxing": "1",
    "supports-multiplex-workers": "1",
    "supports-path-mapping": "1",
    "supports-worker-cancellation": "1",
    "supports-workers": "1",
    "worker-key-mnemonic": "Ociseed",
}

def _input_argument(input):
    # A function that runs when the command line is made, so that Bazel can map the path.
    return "%s=%s" % (input.name, input.file.path)

def _listing(name, path_of):
    """Returns what makes the arguments for one entry of a listed directory."""

    def arguments(entry):
        path, file = path_of(entry)
        host = file.path

        # Bazel would take it for the name of a file of arguments where it hands them to a worker.
        return ["--input-file", "%s/%s" % (name, path), "./" + host if host.startswith("@") else host]

    return arguments

def run_step(ctx, step, mnemonic, params, inputs, outputs, directories = []):
    """Registers the action of one step.

    Args:
      ctx: the rule's context.
      step: subcommand of the tool.
      mnemonic: what the action makes, as one word.
      params: dict, the parameters without `version` and `inputs`.
      inputs: list of struct, as `named` makes them.
      outputs: dict from flag to File, as `{"--out": file}`.
      directories: list of struct, as `listed` makes them.
    """
    # All of them in a file, however few: a persistent worker is told apart by what stands beside it.
    args = ctx.actions.args()
    args.use_param_file("@%s", use_always = True)
    args.set_param_file_format("multiline")
    args.add(step)
    args.add("--params-json", json.encode(dict(params, version = 1)))
    for flag, output in outputs.items():
        # Not `add`: that takes no directories.
        args.add_all(flag, [output], expand_directories = False)
    args.add_all(inputs, map_each = _input_argument, before_each = "--input")
    for directory in directories:
        # Where no file is in it, nothing else tells of it.
        args.add("--input-dir", directory.name)
        for files, path_of in directory.parts:
            args.add_all(files, map_each = _listing(directory.name, path_of), allow_closure = True)

    ctx.actions.run(
        mnemonic = mnemonic,
        progress_message = "%s %%{label}" % mnemonic,
        executable = ctx.toolchains[TOOLCHAIN].tool,
        arguments = [args],
        inputs = depset(
            [input.file for input in inputs],
            transitive = [directory.inputs for directory in directories],
        ),
        outputs = outputs.values(),
        execution_requirements = _EXECUTION_REQUIREMENTS,
        env = {},
        toolchain = TOOLCHAIN,
    )
