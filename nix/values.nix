# Arguments of the other functions: checks them and brings them into the store.
#
# Where `what` is asked for, it is the words that name the argument in an error.
rec {
  # Ends the evaluation with a message.
  fail = what: message: throw "ociseed: ${what}: ${message}";

  # Checks the name of what a function makes.
  key =
    what: value:
    if builtins.isString value && builtins.match "[a-z0-9][a-z0-9._-]*" value != null then
      value
    else
      fail what "expected a name that matches [a-z0-9][a-z0-9._-]*, found ${show value}";

  # Returns the store path of content that a step reads.
  #
  # `name` is what the store calls it, so that neither the name of the file nor
  # of the folder around it makes another derivation.
  storePath =
    what: name: value:
    if builtins.isPath value then
      builtins.path {
        inherit name;
        path = value;
      }
    else if isStored value then
      "${value}"
    else
      fail what "expected a path or a derivation, found ${show value}";

  # Checks that a value was made by this library's function `kind`.
  made =
    what: kind: value:
    if builtins.isAttrs value && value.ociseed-kind or null == kind then
      value
    else
      fail what "expected a value that `${kind}` made, found ${show value}";

  # Drops the arguments that were not given: to a step, a missing key and a default are one.
  given =
    arguments:
    builtins.removeAttrs arguments (
      builtins.filter (name: arguments.${name} == null) (builtins.attrNames arguments)
    );

  # Makes `f index item` of every item of a list.
  indexed =
    f: list: builtins.genList (index: f index (builtins.elemAt list index)) (builtins.length list);

  # A string without context is a place on this host, which no build may read.
  isStored =
    value:
    (builtins.isAttrs value && value ? outPath)
    || (builtins.isString value && builtins.hasContext value);

  show =
    value:
    if builtins.isString value then
      "the string `${builtins.unsafeDiscardStringContext value}`"
    else if value == null then
      "null"
    else
      "a value of type ${builtins.typeOf value}";
}
