#!/bin/sh
# A report in a real browser: it loads without a word on the console, drawings and pictures are there, nothing is wider than the
# window, on a phone and on a desk, in the light and in the dark.
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
