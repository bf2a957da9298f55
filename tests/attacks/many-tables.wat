;; Sixty tables of the maximum size.
;; times 60: (table 100000 funcref)
