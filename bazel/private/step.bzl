"""The one way in which rules run the tool.

A step gets a parameter file, whose content depends on attributes alone, and the paths of its inputs as arguments: so the
file stays the same when output paths change (configurations, path mapping), and paths are never part of a digest.
"""

load(":toolchain.bzl", "TOOLCHAIN")

def named(kind, files):
    """Gives files names by which a parameter file speaks of them.

    Args:
      kind: word that the names begin with.
      files: list of File.

    Returns:
      A list of struct with `name` and `file`.
    """
    return [struct(name = "%s-%d" % (kind, number), file = file) for number, file in enumerate(files)]

def _input_argument(input):
    # A function that runs when the command line is made, so that Bazel can map the path.
    return "%s=%s" % (input.name, input.file.path)

def run_step(ctx, step, mnemonic, params, inputs, outputs):
    """Registers the action of one step.

    Args:
      ctx: the rule's context.
      step: subcommand of the tool.
      mnemonic: what the action makes, as one word.
      params: dict, the parameters without `version` and `inputs`.
      inputs: list of struct, as `named` makes them.
      outputs: dict from flag to File, as `{"--out": file}`.
    """
    params_file = ctx.actions.declare_file("%s.%s-params.json" % (ctx.label.name, mnemonic))
    ctx.actions.write(params_file, json.encode(dict(params, version = 1)))

    args = ctx.actions.args()
    args.add(step)
    args.add("--params", params_file)
    for flag, output in outputs.items():
        # Not `add`: that takes no directories.
        args.add_all(flag, [output], expand_directories = False)
    args.add_all(inputs, map_each = _input_argument, before_each = "--input")

    ctx.actions.run(
        mnemonic = mnemonic,
        progress_message = "%s %%{label}" % mnemonic,
        executable = ctx.toolchains[TOOLCHAIN].tool,
        arguments = [args],
        inputs = [params_file] + [input.file for input in inputs],
        outputs = outputs.values(),
        env = {},
        toolchain = TOOLCHAIN,
    )
