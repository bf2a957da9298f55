;; A start function that computes for ever: no function of the bundle is ever called.
(func $start (loop $again (br $again)))
(start $start)
