"""The packages that packages.lock names, from where `fetch` put them: a file group for each layer.

The lock has no addresses, as a mirror has only the current version of a package: bringing them is what `fetch` does.
"""

# Characters that mean something else in an address. The first one is in what the others become.
_IN_ADDRESSES = {"%": "%25", " ": "%20", "#": "%23", "?": "%3F"}

def _address(path):
    """Returns the address of a file."""
    for char, escaped in _IN_ADDRESSES.items():
        path = path.replace(char, escaped)
    return "file://" + path

def _file_group(layer, files):
    return "filegroup(\n    name = %s,\n    srcs = %s,\n    visibility = [\"//visibility:public\"],\n)\n" % (repr(layer), repr(files))

def _debian_packages_impl(repository_ctx):
    lock = json.decode(repository_ctx.read(repository_ctx.attr.lock))
    directory = repository_ctx.getenv("NGINX_PACKAGES", "")
    hint = "\nhint: examples/nginx/fetch, then bazel build --repo_env=NGINX_PACKAGES=/path/to/examples/nginx/work/debs"
    if not directory.startswith("/") or not repository_ctx.path(directory).exists:
        fail("NGINX_PACKAGES: expected the absolute path of the directory that has the packages, found `%s`" % directory + hint)
    missing = [package["file"] for package in lock["packages"] if not repository_ctx.path(directory).get_child(package["file"]).exists]
    if missing:
        fail("NGINX_PACKAGES: `%s` lacks `%s`" % (directory, "`, `".join(missing)) + hint)
    layers = {}
    for package in lock["packages"]:
        layers.setdefault(package["layer"], []).append(package["file"])

        # A copy, for its digest: links and the like are not checked.
        repository_ctx.download(
            url = _address("%s/%s" % (directory, package["file"])),
            output = package["file"],
            sha256 = package["sha256"],
        )
    repository_ctx.file("BUILD.bazel", "".join([_file_group(layer, files) for layer, files in layers.items()]))

debian_packages = repository_rule(
    implementation = _debian_packages_impl,
    doc = "The packages of a lock, in the directory that `--repo_env=NGINX_PACKAGES=…` names.",
    attrs = {
        "lock": attr.label(
            doc = "The lock.",
            default = Label("//:packages.lock"),
            allow_single_file = True,
        ),
    },
)

def _debian_impl(module_ctx):
    debian_packages(name = "debian_packages")
    return module_ctx.extension_metadata(reproducible = True)

debian = module_extension(implementation = _debian_impl)
