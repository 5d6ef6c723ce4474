(set-logic QF_NRA)
(declare-fun x5 () Real)
(declare-fun x11 () Real)
(declare-fun x4 () Real)
(declare-fun x7 () Real)
(declare-fun x1 () Real)
(assert
 false)
(assert
 true)
(assert
 (<= 0.0 (+ x5 (- 2.0))))
(assert
 (<= 0.0 (+ (* (- 1.0) x4 x4) (* x5 x11))))
(assert
 (<= 0.0 (+ (* (- 1.0) x7 x7) (* x5 x11))))
(assert
 (< 0.0 x1))
(assert
 (< 0.0 x5))
(assert
 (<= 0.0 x11))
(check-sat)
