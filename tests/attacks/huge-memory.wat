;; Declares a memory of 312 MiB.
(memory $memory 5000)
