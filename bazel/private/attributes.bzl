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
