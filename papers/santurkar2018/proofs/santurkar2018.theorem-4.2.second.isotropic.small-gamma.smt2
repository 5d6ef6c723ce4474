(set-logic QF_NRA)
(declare-fun x6 () Real)
(declare-fun x2 () Real)
(declare-fun x0 () Real)
(declare-fun x5 () Real)
(declare-fun x3 () Real)
(declare-fun x1 () Real)
(declare-fun x4 () Real)
(assert
 (let ((?x13 (* x0 x0 x0 x0 x2 x3 x5)))
 (let ((?x18 (+ (* (- 1.0) x0 x0 x0 x0 x2 x4 x4) ?x13 (* (- 1.0) x0 x0 x1 x1 x2 x3 x5) (* (- 1.0) x0 x0 x0 x0 x2 x6 x6))))
 (< 0.0 ?x18))))
(assert
 (and (<= 0.0 (* x2 x3)) (<= 0.0 (+ (* (- 1.0) x0 x0) (* x1 x1)))))
(assert
 (<= 0.0 (+ x5 (- 2.0))))
(assert
 (<= 0.0 (+ (* x3 x5) (* (- 1.0) x6 x6))))
(assert
 (<= 0.0 (+ (* (- 1.0) x4 x4) (* x3 x5))))
(assert
 (and (distinct 0.0 x0) true))
(assert
 (< 0.0 x1))
(assert
 (<= 0.0 x3))
(assert
 (< 0.0 x5))
(check-sat)
