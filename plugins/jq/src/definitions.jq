# jq's filters that jaq does not define, or defines in another way, in terms of those that it has.

# Conversion
def tonumber: if type == "number" then . elif type == "string" then parse_number else error("\(type) (\(tojson)) cannot be parsed as a number") end;
def toboolean: if type == "boolean" then . elif . == "true" then true elif . == "false" then false else error("\(type) (\(tojson)) cannot be parsed as a boolean") end;
def toarray: if type == "array" then . else [.] end;
def ascii: [.] | implode;
def trimstr($part): ltrimstr($part) | rtrimstr($part);
def have_literal_numbers: true;
def have_decnum: true;
def @json: tojson;

# Lists
def join($separator):
  if length == 0 then "" else
    [.[] | if . == null then "" elif isboolean or isnumber then tojson else . end]
    | reduce .[1:][] as $element (.[0]; . + $separator + $element)
  end;
def index($part): indices($part) | if . == null then null else .[0] end;
def rindex($part): indices($part) | if . == null then null else .[-1] end;
def transpose: [range([.[] | length] | max // 0) as $column | [.[][$column]]];
def in(values): . as $key | values | has($key);
def inside(values): . as $part | values | contains($part);
def IN(values): . as $value | any(values; . == $value);
def IN(source; values): any(source; IN(values));
def INDEX(source; key): reduce source as $row ({}; .[$row | key | tostring] = $row);
def INDEX(key): INDEX(.[]; key);

# Objects
def from_entries:
  reduce .[] as $entry ({};
    [$entry | .key, .k, .name, .Name, .Key, .K | select(. != null)] as $names
    | [$entry | .value, .v, .Value, .V | select(. != null)] as $values
    | . + { ($names[0] | if type == "string" then . else tojson end): (if $entry.value == false then false else $values[0] end) });
def with_entries(change): to_entries | map(change) | from_entries;

# Paths
def isvalid(f): try (f | true) catch false;
def del(f): delpaths([path(f)]);
def pick(f): . as $whole | reduce path(f) as $path (null; setpath($path; $whole | getpath($path)));
def leaf_paths: paths(scalars);
def tostream:
  def events($path):
    if (type == "array" or type == "object") and length > 0 then
      keys_unsorted as $keys
      | ($keys[] as $key | .[$key] | events($path + [$key])), [$path + [$keys[-1]]]
    else [$path, .] end;
  events([]);

# Formatting
def @csv: [.[] | if isstring then "\"" + (split("\"") | join("\"\"")) + "\"" elif . == null then "" elif isboolean or isnumber then tojson
  else error("\(type) (\(tojson)) cannot be a field of @csv") end] | join(",");
def @tsv: [.[] | if isstring then (split("\\") | join("\\\\") | split("\t") | join("\\t") | split("\n") | join("\\n") | split("\r") | join("\\r"))
  elif . == null then "" elif isboolean or isnumber then tojson else error("\(type) (\(tojson)) cannot be a field of @tsv") end] | join("\t");
def @html: tostring | split("&") | join("&amp;") | split("<") | join("&lt;") | split(">") | join("&gt;") | split("'") | join("&#39;") | split("\"") | join("&quot;");

# Regular expressions: the pattern may be a list of a pattern and flags.
def test($re): if ($re | type) == "array" then test($re[0]; $re[1] // "") else test($re; "") end;
def match($re): if ($re | type) == "array" then match($re[0]; $re[1] // "") else match($re; "") end;
def capture($re): if ($re | type) == "array" then capture($re[0]; $re[1] // "") else capture($re; "") end;
