# A service as the text that NixOS makes of it, but for the environment that it gives every unit (PATH, LOCALE_ARCHIVE,
# TZDIR), of which the loader reads nothing.
{ lib }:

service:

let
  words = name: list: lib.optionalAttrs (list != [ ]) { ${name} = toString list; };
  unit =
    service.unitConfig
    // words "Requires" service.requires
    // words "Wants" service.wants
    // words "After" service.after
    // words "Before" service.before
    // words "Conflicts" service.conflicts
    // words "Documentation" service.documentation
    // lib.optionalAttrs (service.description != "") { Description = service.description; };

  line =
    name: value:
    if builtins.isBool value then
      "${name}=${if value then "true" else "false"}\n"
    else
      "${name}=${toString value}\n";
  section =
    values:
    builtins.concatStringsSep "" (
      builtins.concatLists (
        lib.mapAttrsToList (
          name: value: if builtins.isList value then map (line name) value else [ (line name value) ]
        ) values
      )
    );
in
''
  [Unit]
  ${section unit}
  [Service]
  ${
    if service.restartIfChanged then "" else "X-RestartIfChanged=false\n"
  }${section service.serviceConfig}''
+ (
  if service.wantedBy == [ ] then
    ""
  else
    ''

      [Install]
      WantedBy=${toString service.wantedBy}
    ''
)
