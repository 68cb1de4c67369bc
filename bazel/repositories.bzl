"""What a WORKSPACE needs to use the rules."""

load("//bazel/private:repositories.bzl", "declare_repositories")

def ociseed_repositories(archives = {}):
    """Declares the repositories of the `ociseed` programs and registers their toolchains.

    Call it once in a WORKSPACE, after the repository `ociseed` itself is declared. The programs are those that
    `--repo_env=OCISEED=/path/to/ociseed` names, else those of an archive.

    Args:
      archives: dict from platform (`linux_amd64`, `linux_arm64`) to a dict with `urls` and `sha256` of an archive of the programs,
        in place of the release's.
    """
    declare_repositories({
        platform: struct(urls = archive.get("urls"), sha256 = archive.get("sha256"))
        for platform, archive in archives.items()
    })
    native.register_toolchains("@ociseed_toolchains//:all")
