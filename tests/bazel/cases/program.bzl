"""A program with runfiles of every kind, made without a shell."""

def _program_impl(ctx):
    executable = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.write(executable, "#!/bin/sh\n", is_executable = True)
    runfiles = ctx.runfiles(
        files = ctx.files.data,
        symlinks = {path: target.files.to_list()[0] for path, target in ctx.attr.links.items()},
        root_symlinks = {path: target.files.to_list()[0] for path, target in ctx.attr.root_links.items()},
    )
    return [DefaultInfo(executable = executable, runfiles = runfiles)]

program = rule(
    implementation = _program_impl,
    doc = "Makes a script, with runfiles.",
    attrs = {
        "data": attr.label_list(
            doc = "Files and directories that it finds by their own paths.",
            allow_files = True,
        ),
        "links": attr.string_keyed_label_dict(
            doc = "Files by other paths.",
            allow_files = True,
        ),
        "root_links": attr.string_keyed_label_dict(
            doc = "Files by paths beside the repositories.",
            allow_files = True,
        ),
    },
    executable = True,
)
