(set-logic QF_NRA)
(declare-fun x11 () Real)
(declare-fun x8 () Real)
(declare-fun x3 () Real)
(declare-fun x2 () Real)
(declare-fun x1 () Real)
(declare-fun x7 () Real)
(declare-fun x10 () Real)
(declare-fun x9 () Real)
(declare-fun x5 () Real)
(declare-fun x4 () Real)
(declare-fun x0 () Real)
(declare-fun x12 () Real)
(declare-fun x13 () Real)
(declare-fun x14 () Real)
(declare-fun x6 () Real)
(assert
 (let ((?x23 (* x3 x3 x8 x8 x9)))
 (let ((?x20 (* x2 x2 x3 x3 x5)))
 (let ((?x32 (+ (* (- 1.0) x2 x2 x3 x3 x4 x7) ?x20 ?x23 (* (- 2.0) x2 x3 x3 x8 x10) (* (- 1.0) x1 x2 x3 x7) (* 3.0 x1 x3 x8 x8) (* (- 2.0) x2 x3 x8 x11))))
 (let (($x16 (<= 0.0 (+ (* x1 x2 x3 x4) (* x1 x1) (* (- 1.0) x0 x2)))))
 (and $x16 (< 0.0 ?x32)))))))
(assert
 (let ((?x38 (* x2 x2 x4 x7)))
 (let ((?x44 (+ ?x38 (* (- 1.0) x2 x4 x8 x8) (* (- 1.0) x2 x2 x5) (* (- 1.0) x8 x8 x9) (* 2.0 x2 x8 x10))))
 (and (= 0.0 (* (- 1.0) x12)) (<= 0.0 ?x44)))))
(assert
 (<= 0.0 (+ x2 (- 2.0))))
(assert
 (<= 0.0 (+ (* x0 x7) (* (- 1.0) x11 x11))))
(assert
 (<= 0.0 (+ (* x2 x7) (* (- 1.0) x13 x13))))
(assert
 (<= 0.0 (+ (* x2 x7) (* (- 1.0) x8 x8))))
(assert
 (<= 0.0 (+ (* x0 x2) (* (- 1.0) x14 x14))))
(assert
 (<= 0.0 (+ (* (- 1.0) x1 x1) (* x0 x2))))
(assert
 (<= 0.0 (+ (* x2 x2) (* (- 1.0) x12 x12))))
(assert
 (let ((?x74 (* (- 1.0) x2 x11 x11)))
 (let ((?x73 (* x0 x2 x7)))
 (let ((?x78 (+ ?x73 ?x74 (* (- 1.0) x0 x13 x13) (* 2.0 x11 x13 x14) (* (- 1.0) x7 x14 x14))))
 (<= 0.0 ?x78)))))
(assert
 (let ((?x74 (* (- 1.0) x2 x11 x11)))
 (let ((?x73 (* x0 x2 x7)))
 (let ((?x83 (+ (* (- 1.0) x1 x1 x7) ?x73 (* (- 1.0) x0 x8 x8) (* 2.0 x1 x8 x11) ?x74)))
 (<= 0.0 ?x83)))))
(assert
 (let ((?x85 (* x2 x2 x7)))
 (let ((?x90 (+ ?x85 (* (- 1.0) x2 x8 x8) (* (- 1.0) x7 x12 x12) (* 2.0 x8 x12 x13) (* (- 1.0) x2 x13 x13))))
 (<= 0.0 ?x90))))
(assert
 (let ((?x97 (+ (* (- 1.0) x1 x1 x2) (* x0 x2 x2) (* (- 1.0) x0 x12 x12) (* 2.0 x1 x12 x14) (* (- 1.0) x2 x14 x14))))
 (<= 0.0 ?x97)))
(assert
 (<= 0.0 x0))
(assert
 (< 0.0 x2))
(assert
 (and (distinct 0.0 x3) true))
(assert
 (< 0.0 x4))
(assert
 (< 0.0 x6))
(assert
 (<= 0.0 x7))
(check-sat)
