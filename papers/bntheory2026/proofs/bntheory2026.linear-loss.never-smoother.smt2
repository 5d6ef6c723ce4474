(set-logic QF_NRA)
(declare-fun x5 () Real)
(declare-fun x3 () Real)
(declare-fun x4 () Real)
(declare-fun x2 () Real)
(declare-fun x1 () Real)
(declare-fun x0 () Real)
(assert
 (let ((?x30 (+ (* (- 2.0) x0 x0 x0 x0 x1 x1 x1 x2 x3 x3) (* 2.0 x0 x0 x0 x0 x1 x1 x3 x3 x4 x4) (* 2.0 x0 x0 x0 x0 x1 x1 x3 x3 x5 x5) (* x0 x0 x1 x1 x2 x3 x3 x3 x5) (* (- 1.0) x0 x0 x1 x3 x3 x3 x4 x4 x5) (* (- 1.0) x0 x0 x1 x3 x3 x3 x5 x5 x5) (* (- 2.0) x1 x2 x3 x3 x3 x3 x5 x5) (* 2.0 x3 x3 x3 x3 x4 x4 x5 x5) (* 2.0 x3 x3 x3 x3 x5 x5 x5 x5))))
 (let (($x15 (and (distinct 0.0 (+ (* x1 x2) (* (- 1.0) x4 x4) (* (- 1.0) x5 x5))) true)))
 (and $x15 (and (distinct 0.0 x3) true) (<= 0.0 ?x30)))))
(assert
 (let ((?x33 (* x1 x2 x3 x3)))
 (let ((?x36 (+ ?x33 (* (- 1.0) x3 x3 x4 x4) (* (- 1.0) x3 x3 x5 x5))))
 (< 0.0 ?x36))))
(assert
 (<= 0.0 (+ x1 (- 2.0))))
(assert
 (<= 0.0 (+ (* x1 x2) (* (- 1.0) x4 x4))))
(assert
 (<= 0.0 (+ (* x1 x2) (* (- 1.0) x5 x5))))
(assert
 (< 0.0 x0))
(assert
 (< 0.0 x1))
(assert
 (<= 0.0 x2))
(check-sat)
