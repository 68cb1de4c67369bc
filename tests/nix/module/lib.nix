# As much of nixpkgs' `lib` as nix/modules and their tests need, so that they are evaluated where there is no nixpkgs.
#
# What it has behaves as nixpkgs' does; `check --lib` runs the same tests with that. Not here, among much else: types that
# are free in form, `disabledModules`, documentation, and where in which file something was defined.
let
  inherit (builtins)
    all
    attrNames
    attrValues
    concatMap
    concatStringsSep
    elem
    filter
    foldl'
    functionArgs
    head
    isAttrs
    isBool
    isFunction
    isInt
    isList
    isPath
    isString
    length
    listToAttrs
    mapAttrs
    match
    stringLength
    substring
    tail
    zipAttrsWith
    ;

  hasTag = tag: value: isAttrs value && value._type or null == tag;
  isOption = hasTag "option";
  quoted = path: "`${concatStringsSep "." path}'";

  # Priorities: the lowest number wins.
  priorities = {
    forced = 50;
    plain = 100;
    default = 1000;
    option = 1500;
  };

  # What a definition comes to, by mkIf and mkMerge around it, and mkOverride in these: a list of `{ priority, value }`. What
  # is overridden is not looked at: it may be a default that cannot be evaluated.
  unwrap =
    value:
    if hasTag "if" value then
      if value.condition then unwrap value.content else [ ]
    else if hasTag "merge" value then
      concatMap unwrap value.contents
    else if hasTag "override" value then
      [
        {
          inherit (value) priority;
          value = value.content;
        }
      ]
    else
      [
        {
          priority = priorities.plain;
          inherit value;
        }
      ];

  # The values of those definitions that no other overrides.
  strongest =
    definitions:
    let
      best = foldl' (a: b: if b.priority < a then b.priority else a) 9999 definitions;
    in
    map (each: each.value) (filter (each: each.priority == best) definitions);
  values = definitions: strongest (concatMap unwrap definitions);

  # The same for a set of options, as sets without conditions around them: a condition may ask for what is being defined,
  # so it moves to each of the values.
  spread =
    value:
    if hasTag "merge" value then
      concatMap spread value.contents
    else if hasTag "if" value || hasTag "override" value then
      map (mapAttrs (_: content: value // { inherit content; })) (spread value.content)
    else
      [ value ];

  # Types

  # `check` tells whether a value is one; `merge` makes one of several, of which each has been checked.
  type =
    {
      name,
      check,
      merge ? same,
      # Of no definition at all; none unless said.
      empty ? null,
    }:
    {
      inherit
        name
        check
        merge
        empty
        ;
    };
  same =
    path: found:
    if all (value: value == head found) (tail found) then
      head found
    else
      throw "The option ${quoted path} has conflicting definition values";
  ofType =
    type: path: found:
    if all type.check found then
      type.merge path found
    else
      throw "A definition for option ${quoted path} is not of type `${type.name}'";
  isDerivation = value: isAttrs value && value.type or null == "derivation";
  isStringLike = value: isString value || isPath value || (isAttrs value && value ? outPath);

  types = rec {
    raw = type {
      name = "raw value";
      check = _: true;
    };
    bool = type {
      name = "boolean";
      check = isBool;
    };
    str = type {
      name = "string";
      check = isString;
    };
    strMatching =
      pattern:
      type {
        name = "string matching the pattern ${pattern}";
        check = value: isString value && match pattern value != null;
      };
    int = type {
      name = "signed integer";
      check = isInt;
    };
    ints.between =
      lowest: highest:
      type {
        name = "integer between ${toString lowest} and ${toString highest} (both inclusive)";
        check = value: isInt value && value >= lowest && value <= highest;
      };
    path = type {
      name = "absolute path";
      check = value: isStringLike value && substring 0 1 (toString value) == "/";
    };
    package = type {
      name = "package";
      check =
        value: isDerivation value || (isStringLike value && match "/nix/store/[^/]+" "${value}" != null);
    };
    enum =
      choices:
      type {
        name = "one of ${concatStringsSep ", " (map builtins.toJSON choices)}";
        check = value: elem value choices;
      };
    nullOr =
      of:
      type {
        name = "null or (${of.name})";
        check = value: value == null || of.check value;
        merge = path: found: if all (value: value == null) found then null else ofType of path found;
      };
    either =
      one: other:
      type {
        name = "(${one.name}) or (${other.name})";
        check = value: one.check value || other.check value;
        merge = path: found: (if all one.check found then one else other).merge path found;
      };
    oneOf = of: foldl' either (head of) (tail of);
    listOf =
      of:
      type {
        name = "list of (${of.name})";
        check = isList;
        empty = [ ];
        merge =
          path: found:
          concatMap (item: map (value: ofType of path [ value ]) (values [ item ])) (
            concatMap (list: list) found
          );
      };
    nonEmptyListOf =
      of:
      (listOf of)
      // {
        name = "non-empty (list of (${of.name}))";
        check = value: isList value && value != [ ];
        empty = null;
      };
    attrsOf =
      of:
      type {
        name = "attribute set of (${of.name})";
        check = isAttrs;
        empty = { };
        merge =
          path: found:
          let
            given = zipAttrsWith (_: values) (concatMap spread found);
          in
          mapAttrs (name: ofType of (path ++ [ name ])) (
            removeAttrs given (filter (name: given.${name} == [ ]) (attrNames given))
          );
      };
    submodule =
      module:
      type {
        name = "submodule";
        check = value: isAttrs value || isFunction value;
        merge =
          path: found:
          (evaluate path {
            modules = [ module ] ++ found;
            specialArgs.name = builtins.elemAt path (length path - 1);
          }).config;
      };
  };

  # Modules

  evaluate =
    prefix:
    {
      modules,
      specialArgs ? { },
    }:
    let
      arguments = {
        inherit config lib options;
      }
      // specialArgs;
      # Each argument by itself: to know them all is to know what modules define.
      called =
        module:
        if isFunction module then
          called (
            module (mapAttrs (name: _: arguments.${name} or config._module.args.${name}) (functionArgs module))
          )
        else if isPath module || isString module then
          called (import module)
        else
          module;
      parts =
        module:
        let
          found = called module;
          isWhole = found ? config || found ? options;
        in
        concatMap parts (found.imports or [ ])
        ++ [
          {
            options = found.options or { };
            config = if isWhole then found.config or { } else removeAttrs found [ "imports" ];
          }
        ];
      all-parts = concatMap parts modules;

      own._module.args = lib.mkOption {
        type = types.attrsOf types.raw;
        default = { };
      };
      options = foldl' (declared prefix) own (map (part: part.options) all-parts);
      config = defined prefix options (map (part: part.config) all-parts);
    in
    {
      inherit config options;
    };

  # Declarations of two modules as one.
  declared =
    path: one: other:
    if isOption one || isOption other then
      throw "The option ${quoted path} is declared twice"
    else
      mapAttrs (
        name: value:
        if one ? ${name} && other ? ${name} then
          declared (path ++ [ name ]) one.${name} other.${name}
        else
          value
      ) (one // other);

  # What definitions come to, for an option or for a set of them.
  defined =
    path: option: definitions:
    if isOption option then
      let
        fallback = if option ? default then [ (lib.mkOptionDefault option.default) ] else [ ];
        found = values (definitions ++ fallback);
      in
      if found != [ ] then
        ofType option.type path found
      else if option.type.empty != null then
        option.type.empty
      else
        throw "The option ${quoted path} was accessed but has no value defined"
    else
      let
        given = zipAttrsWith (_: found: found) (concatMap spread definitions);
        unknown = filter (name: !option ? ${name}) (attrNames given);
      in
      if unknown != [ ] then
        throw "The option ${quoted (path ++ [ (head unknown) ])} does not exist"
      else
        mapAttrs (name: inner: defined (path ++ [ name ]) inner (given.${name} or [ ])) option;

  mkOverride = priority: content: {
    _type = "override";
    inherit priority content;
  };

  lib = {
    inherit types mkOverride;
    evalModules = evaluate [ ];

    mkOption = option: option // { _type = "option"; };
    mkEnableOption =
      what:
      lib.mkOption {
        type = types.bool;
        default = false;
        description = "Whether to enable ${what}.";
      };
    literalExpression = text: { inherit text; };
    literalMD = text: { inherit text; };

    mkIf = condition: content: {
      _type = "if";
      inherit condition content;
    };
    mkMerge = contents: {
      _type = "merge";
      inherit contents;
    };
    mkForce = mkOverride priorities.forced;
    mkDefault = mkOverride priorities.default;
    mkOptionDefault = mkOverride priorities.option;

    inherit attrValues;
    optional = condition: item: if condition then [ item ] else [ ];
    optionals = condition: list: if condition then list else [ ];
    optionalAttrs = condition: set: if condition then set else { };
    hasPrefix = prefix: text: substring 0 (stringLength prefix) text == prefix;
    hasSuffix =
      suffix: text:
      let
        rest = stringLength text - stringLength suffix;
      in
      rest >= 0 && substring rest (-1) text == suffix;
    filterAttrs = keep: set: removeAttrs set (filter (name: !keep name set.${name}) (attrNames set));
    mapAttrsToList = f: set: map (name: f name set.${name}) (attrNames set);
    genAttrs =
      names: f:
      listToAttrs (
        map (name: {
          inherit name;
          value = f name;
        }) names
      );
  };
in
lib
