(set-logic QF_NRA)
(declare-fun x7 () Real)
(declare-fun x5 () Real)
(declare-fun x4 () Real)
(declare-fun x1 () Real)
(declare-fun x6 () Real)
(declare-fun x0 () Real)
(declare-fun x3 () Real)
(declare-fun x2 () Real)
(declare-fun x8 () Real)
(declare-fun x9 () Real)
(assert
 (let ((?x16 (* x1 x1 x4 x4 x6)))
 (let ((?x20 (+ (* (- 1.0) x1 x1 x2 x3 x5 x5) (* x0 x1 x1 x5 x5) ?x16 (* (- 2.0) x1 x1 x4 x5 x7))))
 (< 0.0 ?x20))))
(assert
 (let ((?x23 (* x2 x3 x5 x5)))
 (let ((?x28 (+ (* (- 1.0) x3 x4 x4 x5) ?x23 (* (- 1.0) x0 x5 x5) (* (- 1.0) x4 x4 x6) (* 2.0 x4 x5 x7))))
 (<= 0.0 ?x28))))
(assert
 (<= 0.0 (+ x5 (- 2.0))))
(assert
 (<= 0.0 (+ (* (- 1.0) x4 x4) (* x2 x5))))
(assert
 (<= 0.0 (+ (* x2 x5 x9) (* (- 1.0) x8 x8))))
(assert
 (<= 0.0 x9))
(assert
 (<= 0.0 x9))
(assert
 (and (distinct 0.0 x1) true))
(assert
 (<= 0.0 x2))
(assert
 (<= 0.0 x3))
(assert
 (< 0.0 x5))
(assert
 (<= 0.0 x9))
(check-sat)
