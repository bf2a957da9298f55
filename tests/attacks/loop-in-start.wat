;; Loops in the start function without end, before any export is called.
(func $start (loop $again (br $again)))
(start $start)
