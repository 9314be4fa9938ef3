#!/bin/sh
# A report in a real browser: it loads without a word on the console, drawings and pictures are there, nothing is wider than the
# window, on a phone and on a desk, in the light and in the dark; at no width is a column hidden, or a picture too small to see.
. "$(dirname "$0")/common.sh"

browser=
for name in chromium chromium-browser google-chrome; do
    command -v $name >/dev/null 2>&1 && browser=$name && break
done
[ "$browser" ] || {
    echo "skipped: no Chromium here"
    exit 77
}

PKG_CONFIG_PATH=$build/meson-uninstalled:${PKG_CONFIG_PATH:-}
export PKG_CONFIG_PATH
cd "$tmp" || exit 1
must $cc -std=c17 -Wall -Wextra "$root/tests/outer/report.c" -o report $(pkg-config --cflags --libs pleat) -Wl,-rpath,"$build"
must ./report report.html
! grep -qE '(src|href)="https?:|url\(.?https?:|<script' report.html || fail "the page reaches out"

# the same page with a script that writes what it measures into the document, and without the policy that forbids scripts
grep -q 'Content-Security-Policy' report.html || fail "the page does not forbid what it does not need"
cat >probe.html <<'END'
<script>
addEventListener("load", () => {
    const all = s => [...document.querySelectorAll(s)]
    const scrolls = e => e && e !== document.body && (getComputedStyle(e).overflowX !== "visible" || scrolls(e.parentElement))
    const wide = all("body *").filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !scrolls(e.parentElement))
    document.body.setAttribute("data-facts", [
        "drawings " + all(".chart > svg").length,
        "pictures " + all("img").length,
        "broken " + all("img").filter(i => !i.complete || i.naturalWidth === 0).length,
        "tables " + all("table").length,
        "overflow " + (document.documentElement.scrollWidth > innerWidth ? 1 : 0),
        "wide " + wide.length + (wide[0] ? " " + wide[0].outerHTML.slice(0, 80).replace(/["<>]/g, "") : ""),
        "dark " + matchMedia("(prefers-color-scheme: dark)").matches,
    ].join("; "))
})
</script>
END
sed -e '/Content-Security-Policy/d' -e '/<\/body>/{
r probe.html
}' report.html >probed.html

# look WIDTH DARK(0 or 1): the facts are as they should be
look() {
    mode=
    [ "$2" = 1 ] && mode=--blink-settings=preferredColorScheme=0
    profile=$(mktemp -d "$tmp/profile.XXXXXX")
    timeout 60 $browser --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
        --disable-component-update --disable-sync --user-data-dir="$profile" --window-size="$1,900" $mode \
        --enable-logging=stderr --v=0 --virtual-time-budget=2000 --dump-dom "file://$tmp/probed.html" >dom.html 2>log.txt ||
        fail "$browser ended with status $?: $(tail -n 3 log.txt)"
    ! grep -q 'CONSOLE' log.txt || fail "on the console: $(grep CONSOLE log.txt)"
    facts=$(sed -n 's/.*data-facts="\([^"]*\)".*/\1/p' dom.html)
    case $facts in
        "drawings 3; pictures 2; broken 0; tables "*"; overflow 0; wide 0; dark "*) ;;
        *) fail "$1 wide, dark $2: $facts" ;;
    esac
    echo "$1 wide, dark $2: $facts"
}
look 500 0
look 500 1
look 1280 0
look 1280 1

# the page in a frame of each width, one after the other: which elements hide a part of themselves, and the width of an image
cat >widths.html <<'END'
<body><iframe src="probed.html" height="900"></iframe>
<script>
const frame = document.querySelector("iframe"), found = []
frame.onload = async () => {
    const inside = frame.contentDocument, all = s => [...inside.querySelectorAll(s)]
    for (const width of [360, 390, 430, 500, 600, 700, 720, 768, 900, 1024, 1100, 1280, 1440, 1920, 2560]) {
        frame.width = width
        await new Promise(done => setTimeout(done, 50))
        const hides = all("section, section > *, .scroll, table, th, td, dd, .pairs *")
            .filter(e => !e.closest(".strip") && getComputedStyle(e).display !== "inline" && e.clientWidth > 0)
            .filter(e => e.scrollWidth > e.clientWidth)
        const out = all("section > *, th, td").filter(e => !e.closest(".strip"))
            .filter(e => e.getBoundingClientRect().right > e.closest("section").getBoundingClientRect().right)
        const bad = [...hides, ...out][0]
        const gone = all(".layers tbody td, .epochs tbody td").filter(e => e.getBoundingClientRect().width < 8)
        const column = Math.min(...all(".strip img").map(e => e.getBoundingClientRect().width / e.dataset.columns))
        found.push(`${width}: ${hides.length + out.length} hidden ${gone.length} gone, images ${Math.floor(column)}` +
            (bad ? " " + bad.outerHTML.slice(0, 90).replace(/["<>\n]/g, " ") : ""))
    }
    document.body.setAttribute("data-facts", found.join("; "))
}
</script>
END
profile=$(mktemp -d "$tmp/profile.XXXXXX")
timeout 60 $browser --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
    --disable-component-update --disable-sync --user-data-dir="$profile" --allow-file-access-from-files \
    --virtual-time-budget=20000 --dump-dom "file://$tmp/widths.html" >dom.html 2>log.txt ||
    fail "$browser ended with status $?: $(tail -n 3 log.txt)"
sed -n 's/.*data-facts="\([^"]*\)".*/\1/p' dom.html | sed 's/; /\n/g' >widths.txt
cat widths.txt
[ "$(wc -l <widths.txt)" = 15 ] || fail "not all widths were measured"
! grep -v ': 0 hidden 0 gone, images \(4[89]\|[5-9][0-9]\|[1-9][0-9][0-9]\)$' widths.txt || fail "a part of the report cannot be seen"
