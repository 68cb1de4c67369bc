"""A program with all that it needs when it runs."""

load(":step.bzl", "listed")

# Bazel does not tell programs from data among runfiles.
PROGRAM_MODE = "0755"

def runfiles_path(workspace, short_path):
    """Returns where a file is in a tree of runfiles.

    Args:
      workspace: name of the main repository there.
      short_path: the file's.
    """

    # Of another repository: "../NAME/PATH".
    return short_path[3:] if short_path.startswith("../") else "%s/%s" % (workspace, short_path)

def _of_file(workspace):
    return lambda file: (runfiles_path(workspace, file.short_path), file)

def _of_link(workspace):
    return lambda link: (runfiles_path(workspace, link.path), link.target_file)

def _of_root_link(link):
    return link.path, link.target_file

def program(ctx, name, target, path):
    """Lays a program and its runfiles out as Bazel does beside a program that it runs.

    Args:
      ctx: the rule's context.
      name: of the directory that is an input of the step.
      target: the target that is the program.
      path: where the program goes.

    Returns:
      The directory, as `listed` makes it, and a list of pairs of a path and the entry that makes it.
    """
    info = target[DefaultInfo]
    program, runfiles = info.files_to_run.executable, info.default_runfiles
    workspace = ctx.workspace_name
    roots = runfiles.root_symlinks.to_list()
    mapping = getattr(info.files_to_run, "repo_mapping_manifest", None)
    if mapping:
        roots.append(struct(path = "_repo_mapping", target_file = mapping))
    files = depset([program], transitive = [runfiles.files])
    links = [link.target_file for link in runfiles.symlinks.to_list() + roots]
    directory = listed(
        name,
        [(files, _of_file(workspace)), (runfiles.symlinks, _of_link(workspace)), (roots, _of_root_link)],
        inputs = depset(links, transitive = [files]),
    )
    beside = path + ".runfiles"
    basename = path.rpartition("/")[2]
    entries = [
        (beside, {"dir": directory.name, "mode": PROGRAM_MODE, "to": beside}),
        (path, {"symlink": "%s.runfiles/%s" % (basename, runfiles_path(workspace, program.short_path)), "to": path}),
    ]
    for empty in runfiles.empty_filenames.to_list():
        place = "%s/%s" % (beside, runfiles_path(workspace, empty))
        entries.append((place, {"mode": PROGRAM_MODE, "text": "", "to": place}))
    return directory, entries
