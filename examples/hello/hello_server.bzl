"""The server, compiled by cargo: spec, Bazel and Nix get the same binary, so that all make the same image."""

def _hello_server_impl(repository_ctx):
    path = repository_ctx.getenv("HELLO_SERVER", "")
    if not path.startswith("/") or not repository_ctx.path(path).exists:
        fail("HELLO_SERVER: expected the absolute path of the compiled server, found `%s`\n" % path +
             "hint: cargo build --release -p hello-server, then bazel build --repo_env=HELLO_SERVER=/path/to/hello-server")
    repository_ctx.symlink(path, "hello-server")
    repository_ctx.file("BUILD.bazel", 'exports_files(["hello-server"])\n')

hello_server = repository_rule(
    implementation = _hello_server_impl,
    doc = "The binary that `--repo_env=HELLO_SERVER=…` names.",
)

def _hello_impl(module_ctx):
    hello_server(name = "hello_server")
    return module_ctx.extension_metadata(reproducible = True)

hello = module_extension(implementation = _hello_impl)
