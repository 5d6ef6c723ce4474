(set-logic QF_NRA)
(declare-fun d_2 () Real)
(declare-fun d_1 () Real)
(declare-fun gamma () Real)
(declare-fun m () Real)
(assert
 (and (= 0.0 (* (- 1.0) d_1)) (= 0.0 (* (- 1.0) d_2))))
(assert
 (let (($x19 (or (and (distinct 0.0 (* (- 1.0) gamma d_1)) true) (and (distinct 0.0 (* (- 1.0) gamma d_2)) true))))
 (or $x19 false false)))
(assert
 (<= 0.0 (+ m (- 2.0))))
(check-sat)
