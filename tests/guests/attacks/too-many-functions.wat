;; More functions than anybody compiles.
;; times 200001: (func)
