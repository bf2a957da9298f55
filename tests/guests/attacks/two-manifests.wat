;; A file that says two things of itself.
;; manifests: 2
