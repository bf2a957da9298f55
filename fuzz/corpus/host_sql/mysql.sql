select 'it\'s', "a\"?", `b``?`, 5--2, 1.5e-3, @v -- ?
# '?
from t /* ' */ where a = ? /*! for update */;
