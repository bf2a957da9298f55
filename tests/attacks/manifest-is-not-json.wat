;; The manifest is not JSON.
;; manifest: I am a bundle, trust me
