"""Programs of rules that are one of ours under another name, so that no shell is needed."""

def program_of(ctx, program):
    """Makes the executable of a target of one of our programs.

    Args:
      ctx: the rule's context.
      program: File, which finds by its name what it shall do.

    Returns:
      The executable, and a list of what must be among the runfiles for it.
    """
    executable = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.symlink(output = executable, target_file = program, is_executable = True)
    return executable, [program]
