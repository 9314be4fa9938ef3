# Read the log of meson test, print Criterion's closing lines, what the sanitizers found, and the totals:
# a Criterion program counts its cases, any other test is one. Exit 1 if anything failed or nothing ran.

# The end of one test in the log.
function finish() {
    if (name == "") return
    if (found && result == 0) print "FAILED: " name " passed, but a sanitizer or a fixture complains:\n" report
    passed += cases_passed
    failed += cases_failed
    broken = found || (result != 0 && result != 77)
    if (broken && !cases_failed) failed++
    else if (closing == "" && result == 77) skipped++
    else if (closing == "") passed++
    if (closing != "") closings = closings closing "\n"
    name = closing = report = ""
    found = lines = cases_passed = cases_failed = 0
}

/^=+ [0-9]+\/[0-9]+ =+$/ { finish(); header = 1 }
/^-+ std(out|err) -+$/ { header = 0 }
header && /^test: / { name = $2 }
header && /^result: / { result = ($2 == "exit" ? $4 : 1) }
/^Summary of Failures:/ || /^Ok: / { finish() }

!header && /^\[====\] Synthesis: / {
    closing = $0
    split($0, part, /[:|]/)
    cases_passed = part[5]
    cases_failed = part[7] # crashes included
}

!header && /LeakSanitizer|AddressSanitizer|ThreadSanitizer|runtime error:|^fixture failed:/ { found = 1 }
found && lines < 40 && !/^\[?====/ { report = report "    " $0 "\n"; lines++ }

END {
    finish()
    printf "%s", closings
    if (passed + failed == 0) print "no test ran"
    print passed + 0 " passed, " failed + 0 " failed" (skipped ? ", " skipped " skipped" : "")
    exit status != 0 || failed > 0 || passed == 0
}
