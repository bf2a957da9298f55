;; Sixty tables as large as one may be.
;; times 60: (table 100000 funcref)
