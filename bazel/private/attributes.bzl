"""What several rules do with their attributes."""

def bad_attribute(ctx, attribute, message):
    """Ends the analysis with a message that names target and attribute.

    Args:
      ctx: the rule's context.
      attribute: name of the attribute.
      message: what is wrong, expected and found.
    """
    fail("\n%s: attribute `%s`: %s" % (ctx.label, attribute, message))

def one_of(ctx, attribute, words):
    """Returns the value of an attribute that must be one of some words.

    Instead of `values` of the attribute: those end the loading of the whole package, and no analysis test sees them.

    Args:
      ctx: the rule's context.
      attribute: name of the attribute.
      words: list of values that are right.
    """
    value = getattr(ctx.attr, attribute)
    if value not in words:
        bad_attribute(ctx, attribute, "expected %s, found `%s`" % (" or ".join(["`%s`" % word for word in words]), value))
    return value

def split_names(ctx, attribute, text):
    """Returns the full names of an image that are in a value of `images`.

    Args:
      ctx: the rule's context.
      attribute: name of the attribute.
      text: full names with spaces between.
    """
    names = [name for name in text.split(" ") if name]
    if not names:
        bad_attribute(ctx, attribute, "expected a full name as `docker.io/library/web:1`, found none")
    for name in names:
        # The tool checks the rest; only this is what people leave out.
        if "/" not in name:
            bad_attribute(ctx, attribute, "expected a full name as `docker.io/library/web:1`, found `%s`" % name)
    return names

def only_file(ctx, attribute, target):
    """Returns the file that a target makes.

    Args:
      ctx: the rule's context.
      attribute: name of the attribute that has the target.
      target: the target.
    """
    made = target[DefaultInfo].files.to_list()
    if len(made) != 1:
        bad_attribute(ctx, attribute, "expected a target that makes one file, found %d files of `%s`" % (len(made), target.label))
    if made[0].is_directory:
        bad_attribute(ctx, attribute, "expected a target that makes a file, found the directory of `%s`" % target.label)
    return made[0]

def package_prefix(ctx, attribute, target, strip_prefix, files):
    """Returns how the short paths of a target's files begin, up to where their paths in a package, or below a directory of it, do.

    Args:
      ctx: the rule's context.
      attribute: name of the attribute that has the target.
      target: the target.
      strip_prefix: directory in the target's package, or nothing.
      files: list of File, which must all be below that.
    """
    label = target.label
    parts = ["../" + label.repo_name if label.repo_name else "", label.package, strip_prefix]
    prefix = "".join([part + "/" for part in parts if part])
    for file in files:
        if not file.short_path.startswith(prefix):
            bad_attribute(ctx, attribute, "expected files below `%s`, found `%s` of `%s`" % (prefix, file.short_path, label))
    return prefix

def options_of(ctx, attribute, known):
    """Returns the options that an attribute has, each of which must be known.

    Args:
      ctx: the rule's context.
      attribute: name of the attribute, a string_dict.
      known: list of the words that are options.
    """
    options = getattr(ctx.attr, attribute)
    for option in options:
        if option not in known:
            bad_attribute(ctx, attribute, "expected %s, found `%s`" % (" or ".join(["`%s`" % word for word in known]), option))
    return options

def compression_of(ctx, levels):
    """Returns what the attributes `compression` and `compression_level` say, as the spec does.

    Args:
      ctx: the rule's context.
      levels: dict from compression to its highest level.
    """
    compression = one_of(ctx, "compression", levels.keys())
    level, most = ctx.attr.compression_level, levels[compression]
    if level == 0:
        return compression
    if most == 0:
        bad_attribute(ctx, "compression_level", "expected 0 for compression `%s`, found %d" % (compression, level))
    if level < 1 or level > most:
        bad_attribute(ctx, "compression_level", "expected 1 to %d, or 0 for the default, found %d" % (most, level))
    return {compression: level}
