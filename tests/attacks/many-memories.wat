;; Forty memories.
;; times 40: (memory 1)
