;; Wants 312 MiB before anything runs.
(memory $memory 5000)
