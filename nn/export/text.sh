# The lines of text files as C strings: sh text.sh FILE... ; the array is named after the file.
for file in "$@"; do
    name=$(basename "$file")
    printf 'static const char *const pln_text_%s[] = {\n' "${name%%.*}"
    sed 's/\\/\\\\/g; s/"/\\"/g; s/.*/    "&",/' "$file"
    printf '    NULL};\n'
done
