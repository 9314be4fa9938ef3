# Which findings of a tool are accepted: awk -v tool=NAME -v root=FOLDER/ -f findings.awk accepted.txt LOG
# Prints those that are not, and entries for this tool that accept nothing any more. Exit 1 if there were any.

function trim(s) {
    gsub(/^[ \t]+|[ \t]+$/, "", s)
    return s
}

# The text of a line in a source file.
function line_of(file, number,    text, i) {
    for (i = 0; i < number && (getline text <file) > 0; i++) continue
    close(file)
    return text
}

function fits(value, pattern) {
    return pattern == "*" || (pattern ~ /\*$/ ? index(value, substr(pattern, 1, length(pattern) - 1)) == 1 : value == pattern)
}

# TOOL CHECK | FILE | PART OF THE LINE | REASON
FNR == NR {
    if ($0 ~ /^#/ || $0 !~ /\|/) next
    split($0, field, "|")
    split(trim(field[1]), what, " ")
    if (what[1] != tool) next
    n++
    check[n] = what[2]
    path[n] = trim(field[2])
    part[n] = trim(field[3])
    entry[n] = FNR
    next
}

/: (warning|error): .*\[.*\]$/ {
    split($0, place, ":")
    file = place[1]
    if (index(file, root) == 1) file = substr(file, length(root) + 1)
    sub(/^(build-[a-z]*\/)?\.\.\//, "", file)
    id = $NF
    gsub(/[][]|-Wanalyzer-/, "", id)
    sub(/,.*/, "", id)
    if (seen[file, place[2], id]++) next # a file may be compiled more than once, with one loop for two types
    text = line_of(file, place[2])
    for (i = 1; i <= n; i++)
        if (fits(id, check[i]) && fits(file, path[i]) && (part[i] == "*" || index(text, part[i]))) {
            used[i]++
            next
        }
    print file substr($0, length(place[1]) + 1)
    found++
}

END {
    for (i = 1; i <= n; i++)
        if (!used[i]) {
            print (list ? list : "tests/analyse/accepted.txt") ":" entry[i] ": accepts nothing any more: " check[i] " in " path[i]
            found++
        }
    exit found > 0
}
