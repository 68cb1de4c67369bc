"""What a WORKSPACE needs to use the rules."""

load("//bazel/private:repositories.bzl", "declare_repositories")

def ociseed_repositories():
    """Declares the repositories of the `ociseed` tool and registers its toolchains.

    Call it once, after the repository `ociseed` itself is declared.
    """
    declare_repositories()
    native.register_toolchains("@ociseed_toolchains//:all")
