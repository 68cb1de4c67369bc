"""The archives of the release that this is, by platform; `release/archives` prints them."""

# As `"linux_amd64": struct(urls = ["https://…/ociseed-0.1.0-linux_amd64.tar.gz"], sha256 = "…")`. Before the first release there are
# none: archives and binaries are named by whoever uses the rules.
PREBUILT = {}
