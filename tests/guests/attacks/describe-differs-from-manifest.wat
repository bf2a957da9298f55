;; The file says one name, the code another.
;; embedded: innocent
